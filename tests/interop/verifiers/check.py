#!/usr/bin/env python3
"""Tests the Node, Python and Rust examples of docs/services.md against running servers:

    tests/interop/verifiers/check.py BINARY EXAMPLE NODE_MODULES

EXAMPLE is the built example `verifier`. One server runs for each algorithm that has public keys. Each example
gets valid tokens, signed with an old key and with the key that replaced it, and tokens with one defect each.
Most of the defective tokens are signed with the server's own key, so only the defect can cause the rejection.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

here = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(here.parents[1] / "support"), str(here)]

import jwt  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: E402

from es_modules import copy_modules  # noqa: E402
from test_server import PASSWORD, TestServer  # noqa: E402

AUDIENCE = "tripgate"
OTHER_ALGORITHM = {"ES256": "HS256", "EdDSA": "HS256", "RS256": "RS512"}


def replace_character(token, index):
    return token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]


def invalid_tokens(server, token):
    """Yields invalid tokens, each with the name of its defect."""
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    key = load_der_private_key(server.signing_key(), None)
    now = int(time.time())

    def signed(alg=server.alg, key=key, headers=None, **changes):
        payload = {name: value for name, value in (claims | changes).items() if value is not None}
        head = header | {"alg": alg} | (headers or {})
        # PyJWT omits a `typ` of None, and adds `JWT` if `typ` is absent.
        return jwt.encode(payload, key, alg, {name: head[name] for name in head if name == "typ" or head[name]})

    yield "expired", signed(exp=now - 40, iat=now - 940)
    yield "no expiry", signed(exp=None)
    yield "not valid yet", signed(nbf=now + 300)
    yield "another audience", signed(aud="another")
    yield "no audience", signed(aud=None)
    yield "another issuer", signed(iss="http://127.0.0.1:1")
    yield "no issuer", signed(iss=None)
    yield "no subject", signed(sub=None)
    yield "an ID token", signed(headers={"typ": "JWT"})
    yield "no type", signed(headers={"typ": None})
    yield "an unknown key", signed(headers={"kid": "A" * 43})
    yield "no key id", signed(headers={"kid": None})
    other = OTHER_ALGORITHM[server.alg]
    yield "another algorithm", signed(other, key if other == "RS512" else b"x" * 32)
    yield "no algorithm", signed("none", None)
    yield "a foreign key", signed(key=new_key(server.alg))
    yield "header altered", replace_character(token, 12)
    yield "payload altered", replace_character(token, token.index(".") + 40)
    yield "signature altered", replace_character(token, len(token) - 20)
    yield "signature cut off", token[: token.rindex(".") + 1]
    yield "not a JWT", "v1.01a2.1.c2lnbmF0dXJl"


def new_key(alg):
    return {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
    }[alg]()


def main(binary, example, modules):
    failures = 0
    with tempfile.TemporaryDirectory(prefix="tripgate-verifiers.") as folder:
        copy_modules(here, folder, modules)
        services = {
            "node, jose": ["node", f"{folder}/main.mjs"],
            "python, PyJWT": [sys.executable, here / "main.py", "with_pyjwt"],
            "python, joserfc": [sys.executable, here / "main.py", "with_joserfc"],
            "rust, jsonwebtoken": [example],
        }
        for alg in OTHER_ALGORITHM:
            with TestServer(binary, alg) as server:
                failures += check_all(server, services)
    if failures:
        raise SystemExit(f"{failures} unexpected results")


def check_all(server, services):
    old = server.sign_up("ada")
    server.command("keys", "rotate")
    new = token_of_next_key(server, old)
    user = old["user"]["id"]
    cases = [("valid", old["access_token"]), ("valid, next key", new), *invalid_tokens(server, new)]
    failures = 0
    for name, command in services.items():
        results = subprocess.run(
            [*command, server.issuer, AUDIENCE],
            input="".join(f"{token}\n" for _, token in cases),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.splitlines()
        if len(results) != len(cases):
            raise SystemExit(f"{name}: {len(results)} results for {len(cases)} tokens")
        for (case, _), result in zip(cases, results):
            expected = result == f"accepts {user}" if case.startswith("valid") else result.startswith("rejects ")
            if not expected or "UNEXPECTED" in result:
                failures += 1
                print(f"    {server.alg}, {name}: {case}: {result}", file=sys.stderr)
        print(f"    {server.alg}, {name}: {len(cases)} tokens")
    return failures


def token_of_next_key(server, old):
    """Logs in until the token is signed with a new key; the server detects the rotation within a second."""
    kid = jwt.get_unverified_header(old["access_token"])["kid"]
    for _ in range(50):
        login = {"identifier": "ada", "password": PASSWORD}
        token = server.call("/api/v1/auth/login", login)["access_token"]
        if jwt.get_unverified_header(token)["kid"] != kid:
            return token
        time.sleep(0.1)
    raise SystemExit("the server still signs with the old key")


main(*sys.argv[1:])
