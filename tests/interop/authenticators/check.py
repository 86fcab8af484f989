#!/usr/bin/env python3
"""Tests second factors, passkeys and HTTP Digest with implementations of other projects:

    tests/interop/authenticators/check.py BINARY NODE_MODULES

pyotp and otplib compute the codes of an authenticator app, and ZXing reads the QR code. nid-webauthn-emulator
and a security key built from fido2 create and use passkeys, and fido2 verifies the same responses as the
server. curl, requests and httpx use HTTP Digest.
"""

import sys
import tempfile
from pathlib import Path

here = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(here.parents[1] / "support"), str(here)]

import apps  # noqa: E402
import digest  # noqa: E402
import passkeys  # noqa: E402
from es_modules import copy_modules  # noqa: E402
from test_server import TestServer  # noqa: E402


def main(binary, modules):
    settings = {
        "digest": "on",
        "passkey_rp_id": passkeys.RP_ID,
        "passkey_origins": passkeys.ORIGIN,
        "public_url": passkeys.ORIGIN,
    }
    with tempfile.TemporaryDirectory(prefix="tripgate-authenticators.") as folder:
        copy_modules(here, folder, modules)
        for part in (apps, passkeys, digest):
            with TestServer(binary, "ES256", **settings) as server:
                part.check(server, folder)


main(*sys.argv[1:])
