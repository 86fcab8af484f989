"""A server of one's own for a check: on a free loopback port, with its data in a temporary folder.

The check also gets the key that the server signs with, out of its database and opened with its
secret: only so can it make tokens that are wrong in one thing and good in every other.
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
    """A running server; `with` ends it and removes what it wrote."""

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
            try:
                urllib.request.urlopen(f"{self.issuer}/health/ready", timeout=5).close()
                return self
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        self.__exit__(RuntimeError, None, None)
        raise SystemExit("the server does not start")

    def __exit__(self, failed, _value, _trace):
        if failed:
            lines = self.log.read_text(errors="replace").splitlines()[-20:]
            print("the last lines of the server's log:", *(line[:500] for line in lines), sep="\n")
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        """Ends the server, after which its log is whole."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def command(self, *words):
        """Runs a command of the binary beside the server."""
        return subprocess.run(
            [self.binary, *words],
            cwd=self.folder,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def call(self, path, body=None, token=None):
        """The answer to a request, as JSON."""
        request = urllib.request.Request(f"{self.issuer}{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def sign_up(self, name):
        return self.call("/api/v1/auth/signup", {"username": name, "password": PASSWORD})

    def signing_key(self):
        """The active key's private part: PKCS #8, or the secret of HS256."""
        secret = (self.folder / "data" / "secret").read_text().splitlines()[0].strip().encode()
        with sqlite3.connect(f"file:{self.folder}/data/tripgate.db?mode=ro", uri=True) as database:
            kid, sealed = database.execute(
                "SELECT kid, sealed_private_key FROM signing_keys WHERE status = 'active'"
            ).fetchone()
        database.close()
        vault = HKDF(SHA256(), 32, None, b"tripgate key ring v1").derive(secret)
        return AESGCM(vault).decrypt(sealed[:12], sealed[12:], kid.encode())
