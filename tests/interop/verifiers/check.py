#!/usr/bin/env python3
"""Tries the README's services in Node, Python and Rust against running servers:

    tests/interop/verifiers/check.py BINARY EXAMPLE NODE_MODULES

EXAMPLE is the built example `verifier`. One server for each algorithm that has public keys. Each
service is shown good tokens, of an old key and of the one that replaced it, and tokens that are
wrong in one thing: those signed by the server's own key show that it is that thing which is refused.
"""

import shutil
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

from test_server import PASSWORD, TestServer  # noqa: E402

AUDIENCE = "tripgate"
OTHER = {"ES256": "HS256", "EdDSA": "HS256", "RS256": "RS512"}


def other_character(token, at):
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


def wrong(server, token):
    """Tokens that nobody may take, by what is wrong with them."""
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    key = load_der_private_key(server.signing_key(), None)
    now = int(time.time())

    def signed(alg=server.alg, key=key, headers=None, **changes):
        said = {name: value for name, value in (claims | changes).items() if value is not None}
        head = header | {"alg": alg} | (headers or {})
        # PyJWT leaves a `typ` of None out by itself, and puts `JWT` where there is none.
        return jwt.encode(said, key, alg, {name: head[name] for name in head if name == "typ" or head[name]})

    yield "expired", signed(exp=now - 40, iat=now - 940)
    yield "never expires", signed(exp=None)
    yield "not yet", signed(nbf=now + 300)
    yield "another audience", signed(aud="another")
    yield "no audience", signed(aud=None)
    yield "another issuer", signed(iss="http://127.0.0.1:1")
    yield "no issuer", signed(iss=None)
    yield "of nobody", signed(sub=None)
    yield "an ID token", signed(headers={"typ": "JWT"})
    yield "of no type", signed(headers={"typ": None})
    yield "an unknown key", signed(headers={"kid": "A" * 43})
    yield "no key", signed(headers={"kid": None})
    other = OTHER[server.alg]
    yield "another algorithm", signed(other, key if other == "RS512" else b"x" * 32)
    yield "no algorithm", signed("none", None)
    yield "another's key", signed(key=another(server.alg))
    yield "header altered", other_character(token, 12)
    yield "payload altered", other_character(token, token.index(".") + 40)
    yield "signature altered", other_character(token, len(token) - 20)
    yield "signature cut off", token[: token.rindex(".") + 1]
    yield "no token", "v1.01a2.1.c2lnbmF0dXJl"


def another(alg):
    return {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
    }[alg]()


def main(binary, example, modules):
    failures = 0
    with tempfile.TemporaryDirectory(prefix="tripgate-verifiers.") as folder:
        # An ES module finds its libraries beside itself alone.
        for file in here.glob("*.mjs"):
            shutil.copy(file, folder)
        (Path(folder) / "node_modules").symlink_to(Path(modules).resolve())
        services = {
            "node, jose": ["node", f"{folder}/main.mjs"],
            "python, PyJWT": [sys.executable, here / "main.py", "with_pyjwt"],
            "python, joserfc": [sys.executable, here / "main.py", "with_joserfc"],
            "rust, jsonwebtoken": [example],
        }
        for alg in OTHER:
            with TestServer(binary, alg) as server:
                failures += try_all(server, services)
    if failures:
        raise SystemExit(f"{failures} tokens were not taken or refused as they should be")


def try_all(server, services):
    old = server.sign_up("ada")
    server.command("keys", "rotate")
    new = rotated(server, old)
    user = old["user"]["id"]
    cases = [("good", old["access_token"]), ("good, of the next key", new), *wrong(server, new)]
    failures = 0
    for name, command in services.items():
        answers = subprocess.run(
            [*command, server.issuer, AUDIENCE],
            input="".join(f"{token}\n" for _, token in cases),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.splitlines()
        if len(answers) != len(cases):
            raise SystemExit(f"{name}: {len(answers)} answers to {len(cases)} tokens")
        for (what, _), answer in zip(cases, answers):
            good = answer == f"takes {user}" if what.startswith("good") else answer.startswith("refuses ")
            if not good or "UNEXPECTED" in answer:
                failures += 1
                print(f"    {server.alg}, {name}: {what}: {answer}", file=sys.stderr)
        print(f"    {server.alg}, {name}: {len(cases)} tokens")
    return failures


def rotated(server, old):
    """A token of another key than the old one's; the server learns of the rotation within a second."""
    kid = jwt.get_unverified_header(old["access_token"])["kid"]
    for _ in range(50):
        login = {"identifier": "ada", "password": PASSWORD}
        token = server.call("/api/v1/auth/login", login)["access_token"]
        if jwt.get_unverified_header(token)["kid"] != kid:
            return token
        time.sleep(0.1)
    raise SystemExit("the rotation changes nothing")


main(*sys.argv[1:])
