#!/usr/bin/env python3
"""Sends forged and malformed tokens, and other kinds of tokens, to running servers, which must reject all of
them:

    tests/interop/forged_tokens/check.py BINARY NODE_MODULES

PyJWT, joserfc and jwcrypto in Python, jose in Node and plain string operations create the tokens, for
each signing algorithm separately. Every response must be a complete 401 problem with the challenge of
RFC 6750. At the end, the log at level `trace` must contain no part of any token.
"""

import collections
import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

here = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(here.parents[1] / "support"), str(here)]

from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: E402

import manual  # noqa: E402
from es_modules import copy_modules  # noqa: E402
from libraries import LIBRARIES, pem_of  # noqa: E402
from keys import b64, public_jwk  # noqa: E402
from recipes import Recipes  # noqa: E402
from test_server import TestServer  # noqa: E402

CHALLENGE = 'Bearer realm="tripgate", error="invalid_token"'
FIELDS = {"type", "title", "status", "detail", "code", "request_id", "client_action"}
MIN_TOKENS = 1_000


class Battery:
    """All tokens for one server, grouped by the library that created them."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.grant, other = server.sign_up("ada"), server.sign_up("bob")
        self.token = self.grant["access_token"]
        with urllib.request.urlopen(f"{server.issuer}/.well-known/jwks.json", timeout=5) as response:
            key_set = response.read()
        own = server.signing_key()
        own = own if server.alg == "HS256" else load_der_private_key(own, None)
        kid = json.loads(manual.unb64(self.token.split(".")[0]))["kid"]
        jwk = next((key for key in json.loads(key_set)["keys"] if key["kid"] == kid), None)
        self.recipes = Recipes(server.alg, self.token, own, jwk, key_set, server.issuer)
        self.recipes.own_jwk = jwk
        self.valid, self.forged, self.seen = [self.token], collections.defaultdict(list), set()
        self.in_python()
        self.in_node()
        foreign = LIBRARIES[0].make(
            self.recipes.job("", {"kid": "A" * 43}, {"iss": "http://127.0.0.1:1"}), own
        )
        tokens = (self.token, other["access_token"], foreign)
        self.add("manual", manual.all_of(self.recipes, *tokens, self.other_secrets()))

    def add(self, maker, tokens):
        for what, token in tokens:
            if token not in self.seen:
                self.seen.add(token)
                self.forged[maker].append((what, token))

    def in_python(self):
        for library in LIBRARIES:
            self.valid.append(library.make(self.recipes.valid(), self.recipes.keys["own"]))

            def signed(library=library):
                for job in self.recipes.all():
                    try:
                        yield job["what"], library.make(job, self.recipes.keys[job["key"]])
                    except Exception:  # the library can't create this token
                        continue

            self.add(library.name, signed())
            self.add(library.name, library.extra(self.recipes))

    def in_node(self):
        def encode(key):
            return (
                {"secret": b64(key)}
                if isinstance(key, bytes)
                else {"pem": pem_of(key).decode(), "public": public_jwk(key)}
            )

        jobs = [job | {"payload": b64(job["payload"])} for job in [self.recipes.valid(), *self.recipes.all()]]
        keys = {name: encode(key) for name, key in self.recipes.keys.items()}
        job_input = {
            "jobs": jobs,
            "keys": keys,
            "claims": self.recipes.claims,
            "kid": self.recipes.kid,
            "alg": self.server.alg,
        }
        output = subprocess.run(
            ["node", f"{self.folder}/with_jose.mjs"],
            input=json.dumps(job_input),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        ).stdout
        tokens = json.loads(output)
        if tokens[0][0] != "valid":
            raise SystemExit("jose created no valid token")
        self.valid.append(tokens[0][1])
        self.add("jose", tokens[1:])

    def other_secrets(self):
        """Returns values from the server that are not access tokens."""
        token = self.token
        for title in ("Lisbon", "Sintra"):
            self.server.call("/api/v1/trips", {"title": title}, token)
        page = self.server.call("/api/v1/trips?limit=1", token=token)
        client = dict(
            line.split(None, 1)
            for line in self.server.command("clients", "add", "forge").splitlines()
            if line.startswith("client_")
        )
        return {
            "refresh token": self.grant["refresh_token"],
            "page cursor": page["next_cursor"],
            "session": self.grant["session_id"],
            "user": self.grant["user"]["id"],
            "trip": page["items"][0]["id"],
            "client": client["client_id"],
            "client secret": client["client_secret"],
            "master secret": (self.server.folder / "data" / "secret").read_text().split()[0],
            "kid": self.recipes.kid,
        }

    def send_all(self):
        """Sends all tokens; yields a line for each wrong response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        for token in self.valid:
            status, _, body = send(connection, token)
            if status != 200:
                yield f"a valid token: {status} {body[:200]}"
        for maker, tokens in self.forged.items():
            for what, token in tokens:
                try:
                    defect = find_defect(token, *send(connection, token))
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    defect = f"no response: {error!r}"
                if defect:
                    yield f"{self.server.alg}, {maker}: {what}: {defect}: {token[:60]!r} ({len(token)})"
        if send(connection, self.token)[0] != 200:
            yield "the valid token is no longer accepted"
        connection.close()

    def check_log(self):
        """Yields a line for each run of 16 characters of a token in the log, except request and user ids."""
        log = self.server.log.read_text(errors="replace")
        if "panicked" in log:
            yield "the server panicked"
        logged, sent = log.count("/api/v1/auth/session"), sum(map(len, self.forged.values()))
        if logged < sent:
            yield f"the log has {logged} of {sent} requests: is its level `trace`?"
        ids = r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
        runs = set(re.findall(r"[A-Za-z0-9_=+/.-]{16,}", re.sub(ids, " ", log)))
        forged = "\n".join(
            [
                *self.valid,
                *(token for tokens in self.forged.values() for _, token in tokens if len(token) < 8_000),
            ]
        )
        for run in runs:
            for piece in {run, *re.split(r"[./=+]", run)}:
                if len(piece) >= 16 and piece in forged:
                    yield f"the log contains {piece[:60]!r} of a token"
        # A run of characters may contain more than a token, so search for the signatures separately.
        signatures = (token.rsplit(".", 1)[-1] for tokens in self.forged.values() for _, token in tokens)
        ends = tuple({signature for signature in signatures if len(signature) >= 16})
        yield from (f"the log contains a signature at the end of {run[-40:]!r}" for run in runs if run.endswith(ends))


def send(connection, token):
    """Returns status, headers and body of the response to a request with the token."""
    connection.putrequest("GET", "/api/v1/auth/session")
    connection.putheader("Authorization", f"Bearer {token}".encode("latin-1"))
    connection.endheaders()
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def find_defect(token, status, headers, body):
    """Returns what is wrong with the rejection of a token, or None."""
    if status != 401:
        return f"status {status}"
    if not headers.get("www-authenticate", "").startswith(CHALLENGE):
        return f"challenge {headers.get('www-authenticate')}"
    if headers.get("content-type") != "application/problem+json":
        return f"type {headers.get('content-type')}"
    problem = json.loads(body)
    if set(problem) != FIELDS or problem["code"] != "invalid_token" or problem["status"] != 401:
        return f"problem {problem}"
    # The text of a short token may occur in the response by chance.
    if len(token) >= 16 and token in body.decode():
        return "the token is echoed"
    return None


def main(binary, modules):
    defects = []
    with tempfile.TemporaryDirectory(prefix="tripgate-forge.") as folder:
        copy_modules(here, folder, modules)
        for alg in ("ES256", "EdDSA", "RS256", "HS256"):
            start = time.monotonic()
            with TestServer(binary, alg, "trace") as server:
                battery = Battery(server, folder)
                found = list(battery.send_all())
                server.stop()
                found += battery.check_log()
            counts = {maker: len(tokens) for maker, tokens in battery.forged.items()}
            if sum(counts.values()) < MIN_TOKENS or len(counts) < 5 or min(counts.values()) < 100:
                found.append(f"{alg}: too few tokens: {counts}")
            listed = ", ".join(f"{maker} {count}" for maker, count in counts.items())
            took = f"{len(found)} defects, {time.monotonic() - start:.0f} s"
            print(f"    {alg}: {sum(counts.values())} forged tokens ({listed}), {took}")
            defects += found
    if defects:
        print(*defects[:40], sep="\n", file=sys.stderr)
        raise SystemExit(f"{len(defects)} defects")


main(*sys.argv[1:])
