#!/usr/bin/env python3
"""Shows forged, malformed and confused tokens to running servers, which must refuse every one:

    tests/interop/forged_tokens/check.py BINARY NODE_MODULES

PyJWT, joserfc and jwcrypto in Python, jose in Node and plain string work make them, anew for each
algorithm that signs. Every answer must be a whole 401 problem with the challenge of RFC 6750, and at
the end the log, at its most talkative, must hold nothing of any token.
"""

import collections
import http.client
import json
import re
import shutil
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
from libraries import LIBRARIES, pem_of  # noqa: E402
from keys import b64, public_jwk  # noqa: E402
from recipes import Recipes  # noqa: E402
from test_server import TestServer  # noqa: E402

CHALLENGE = 'Bearer realm="tripgate", error="invalid_token"'
MEMBERS = {"type", "title", "status", "detail", "code", "request_id", "client_action"}
LEAST = 1_000


class Battery:
    """The tokens against one server, by who made them."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.grant, other = server.sign_up("ada"), server.sign_up("bob")
        self.token = self.grant["access_token"]
        with urllib.request.urlopen(f"{server.issuer}/.well-known/jwks.json", timeout=5) as answer:
            key_set = answer.read()
        own = server.signing_key()
        own = own if server.alg == "HS256" else load_der_private_key(own, None)
        kid = json.loads(manual.unb64(self.token.split(".")[0]))["kid"]
        shown = next((key for key in json.loads(key_set)["keys"] if key["kid"] == kid), None)
        self.recipes = Recipes(server.alg, self.token, own, shown, key_set, server.issuer)
        self.recipes.own_jwk = shown
        self.good, self.made, self.seen = [self.token], collections.defaultdict(list), set()
        self.in_python()
        self.in_node()
        elsewhere = LIBRARIES[0].make(
            self.recipes.job("", {"kid": "A" * 43}, {"iss": "http://127.0.0.1:1"}), own
        )
        tokens = (self.token, other["access_token"], elsewhere)
        self.add("by hand", manual.all_of(self.recipes, *tokens, self.strangers()))

    def add(self, maker, tokens):
        for what, token in tokens:
            if token not in self.seen:
                self.seen.add(token)
                self.made[maker].append((what, token))

    def in_python(self):
        for library in LIBRARIES:
            self.good.append(library.make(self.recipes.good(), self.recipes.keys["ours"]))

            def signed(library=library):
                for job in self.recipes.all():
                    try:
                        yield job["what"], library.make(job, self.recipes.keys[job["key"]])
                    except Exception:  # the library can't, whatever it raises
                        continue

            self.add(library.name, signed())
            self.add(library.name, library.extra(self.recipes))

    def in_node(self):
        def written(key):
            return (
                {"secret": b64(key)}
                if isinstance(key, bytes)
                else {"pem": pem_of(key).decode(), "public": public_jwk(key)}
            )

        jobs = [job | {"payload": b64(job["payload"])} for job in [self.recipes.good(), *self.recipes.all()]]
        keys = {name: written(key) for name, key in self.recipes.keys.items()}
        given = {
            "jobs": jobs,
            "keys": keys,
            "claims": self.recipes.claims,
            "kid": self.recipes.kid,
            "alg": self.server.alg,
        }
        answer = subprocess.run(
            ["node", f"{self.folder}/with_jose.mjs"],
            input=json.dumps(given),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        ).stdout
        tokens = json.loads(answer)
        if tokens[0][0] != "good":
            raise SystemExit("jose made no good token")
        self.good.append(tokens[0][1])
        self.add("jose", tokens[1:])

    def strangers(self):
        """What the server gives out that is no access token."""
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

    def fire(self):
        """What is wrong with the answers, a line each."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        for token in self.good:
            status, _, body = ask(connection, token)
            if status != 200:
                yield f"a good token: {status} {body[:200]}"
        for maker, tokens in self.made.items():
            for what, token in tokens:
                try:
                    fault = judge(token, *ask(connection, token))
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    fault = f"no answer: {error!r}"
                if fault:
                    yield f"{self.server.alg}, {maker}: {what}: {fault}: {token[:60]!r} ({len(token)})"
        if ask(connection, self.token)[0] != 200:
            yield "the good token is no longer taken"
        connection.close()

    def logged(self):
        """No 16 characters in a row of any token stand in the log; the ids of requests and people may."""
        log = self.server.log.read_text(errors="replace")
        if "panicked" in log:
            yield "the server panicked"
        named, sent = log.count("/api/v1/auth/session"), sum(map(len, self.made.values()))
        if named < sent:
            yield f"the log names {named} of {sent} requests: is it at trace?"
        ids = r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
        runs = set(re.findall(r"[A-Za-z0-9_=+/.-]{16,}", re.sub(ids, " ", log)))
        forged = "\n".join(
            [
                *self.good,
                *(token for tokens in self.made.values() for _, token in tokens if len(token) < 8_000),
            ]
        )
        for run in runs:
            for piece in {run, *re.split(r"[./=+]", run)}:
                if len(piece) >= 16 and piece in forged:
                    yield f"the log has {piece[:60]!r} of a token"
        # A run may hold more than a token: each token's signature is looked for as well.
        ends = {token.rsplit(".", 1)[-1] for tokens in self.made.values() for _, token in tokens}
        yield from (
            f"the log has the signature {end[:40]!r}"
            for run in runs
            for end in ends & {run[-len(run) :]}
            if len(end) >= 16
        )


def ask(connection, token):
    connection.putrequest("GET", "/api/v1/auth/session")
    connection.putheader("Authorization", f"Bearer {token}".encode("latin-1"))
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def judge(token, status, headers, body):
    """What is wrong with an answer to a token that must be refused; nothing if nothing is."""
    if status != 401:
        return f"status {status}"
    if not headers.get("www-authenticate", "").startswith(CHALLENGE):
        return f"challenge {headers.get('www-authenticate')}"
    if headers.get("content-type") != "application/problem+json":
        return f"type {headers.get('content-type')}"
    problem = json.loads(body)
    if set(problem) != MEMBERS or problem["code"] != "invalid_token" or problem["status"] != 401:
        return f"problem {problem}"
    # Short ones occur in any text.
    if len(token) >= 16 and token in body.decode():
        return "the token is echoed"
    return None


def main(binary, modules):
    faults = []
    with tempfile.TemporaryDirectory(prefix="tripgate-forge.") as folder:
        # An ES module finds its libraries beside itself alone.
        shutil.copy(here / "with_jose.mjs", folder)
        (Path(folder) / "node_modules").symlink_to(Path(modules).resolve())
        for alg in ("ES256", "EdDSA", "RS256", "HS256"):
            start = time.monotonic()
            with TestServer(binary, alg, "trace") as server:
                battery = Battery(server, folder)
                found = list(battery.fire())
                server.stop()
                found += battery.logged()
            counts = {maker: len(tokens) for maker, tokens in battery.made.items()}
            if sum(counts.values()) < LEAST or len(counts) < 5 or min(counts.values()) < 100:
                found.append(f"{alg}: too few: {counts}")
            listed = ", ".join(f"{maker} {count}" for maker, count in counts.items())
            took = f"{len(found)} faults, {time.monotonic() - start:.0f} s"
            print(f"    {alg}: {sum(counts.values())} forged tokens ({listed}), {took}")
            faults += found
    if faults:
        print(*faults[:40], sep="\n", file=sys.stderr)
        raise SystemExit(f"{len(faults)} faults")


main(*sys.argv[1:])
