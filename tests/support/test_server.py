"""Runs a server for a test, on a free loopback port and with its data in a temporary folder.

`TestServer.signing_key` reads the server's private signing key from the database and decrypts it with the
master secret. Tests need this key to sign tokens that have a single defect.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PASSWORD = "a red kite over Lisbon"


class TestServer:
    """A running server; leaving the `with` block stops it and removes its data."""

    def __init__(self, binary, alg, log="warn", **settings):
        self.alg = alg
        self.binary = str(Path(binary).resolve())
        self.folder = Path(tempfile.mkdtemp(prefix="tripgate-tokens."))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("TRIPGATE_")
        }
        self.environment |= {
            "TRIPGATE_LISTEN": f"127.0.0.1:{self.port}",
            "TRIPGATE_DATA_DIR": str(self.folder / "data"),
            "TRIPGATE_SIGNING_ALG": alg,
            "TRIPGATE_BCRYPT_COST": "4",
            "TRIPGATE_LIMITS": "off",
            "TRIPGATE_LOG": log,
        } | {f"TRIPGATE_{name.upper()}": str(value) for name, value in settings.items()}
        self.log = self.folder / "log"

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        for _ in range(300):
            # `tripgate health` sends a header of the PROXY protocol if the settings require one.
            health = subprocess.run([self.binary, "health", "--ready"], cwd=self.folder, env=self.environment,
                                    capture_output=True, check=False)
            if health.returncode == 0:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.__exit__(RuntimeError, None, None)
        raise SystemExit("the server failed to start")

    def __exit__(self, failed, _value, _trace):
        if failed:
            lines = self.log.read_text(errors="replace").splitlines()[-20:]
            print("last lines of the server log:", *(line[:500] for line in lines), sep="\n")
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        """Stops the server; afterwards its log is complete."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def command(self, *words):
        """Runs a command of the binary while the server runs, and returns its output."""
        return subprocess.run(
            [self.binary, *words],
            cwd=self.folder,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def send(self, path, body=None, token=None):
        """Sends a POST request if there is a body, else a GET request. Returns the status and the JSON response."""
        request = urllib.request.Request(f"{self.issuer}{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def call(self, path, body=None, token=None):
        """Sends a request and returns the JSON response. Fails if the response is an error."""
        status, response = self.send(path, body, token)
        if status >= 400:
            raise SystemExit(f"{path} returned {status}: {response}")
        return response

    def refused(self, path, body=None, token=None, *, status, code=None, error=None, case=""):
        """Sends a request and returns the problem. Fails unless the response has this status, this code and
        this error of a field. `case` is the name of the request in the message."""
        found, problem = self.send(path, body, token)
        codes = [field["code"] for field in problem.get("errors", [])]
        if found != status or code not in (None, problem.get("code")) or error not in (None, *codes):
            case = f" ({case})" if case else ""
            raise SystemExit(f"{path}{case} returned {found} instead of {status} {code or error}: {problem}")
        return problem

    def sign_up(self, name):
        return self.call("/api/v1/auth/signup", {"username": name, "password": PASSWORD})

    def signing_key(self):
        """Returns the active private key: PKCS #8, or the secret of HS256."""
        secret = (self.folder / "data" / "secret").read_text().splitlines()[0].strip().encode()
        with sqlite3.connect(f"file:{self.folder}/data/tripgate.db?mode=ro", uri=True) as database:
            kid, encrypted = database.execute(
                "SELECT kid, sealed_private_key FROM signing_keys WHERE status = 'active'"
            ).fetchone()
        database.close()
        key_ring_key = HKDF(SHA256(), 32, None, b"tripgate key ring v1").derive(secret)
        return AESGCM(key_ring_key).decrypt(encrypted[:12], encrypted[12:], kid.encode())
