#!/usr/bin/env python3
"""Tests the HTML pages of a running server in a real browser:

    tests/browser/browser_tests.py BINARY NODE_MODULES [TEST-NAME-PATTERN]

NODE_MODULES contains playwright-core; the browser is Debian's `chromium`. Access tokens have the shortest
lifetime that the server allows, so that a token expires during the tests. A second server accepts Basic
credentials on every operation. The public URL of a third server contains `localhost`, because browsers
support no passkeys for IP addresses. The screenshots are stored in a temporary folder, which is not removed:
`swagger-ui.png` is the source of `docs/images/swagger-ui.png`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

here = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(here.parent / "support"))

from es_modules import copy_modules  # noqa: E402
from test_server import TestServer  # noqa: E402

ACCESS_TTL_SECS = 60


def main(binary, modules, pattern="."):
    passkeys = TestServer(binary, "ES256")
    passkeys.environment["TRIPGATE_PUBLIC_URL"] = f"http://localhost:{passkeys.port}"
    shots = tempfile.mkdtemp(prefix="tripgate-screenshots.")
    with (
        tempfile.TemporaryDirectory(prefix="tripgate-browser.") as folder,
        TestServer(binary, "ES256", access_ttl_secs=ACCESS_TTL_SECS) as server,
        TestServer(binary, "ES256", basic_on_api="true") as with_basic,
        passkeys,
    ):
        copy_modules(here, folder, modules)
        environment = {
            "SERVER": server.issuer,
            "SERVER_WITH_BASIC": with_basic.issuer,
            "SERVER_WITH_PASSKEYS": f"http://localhost:{passkeys.port}",
            "DATA_DIR": str(server.folder / "data"),
            "SCREENSHOTS": shots,
            "CHROMIUM": shutil.which("chromium") or "chromium",
            # Keeps the browser from writing to the user's home directory.
            "HOME": folder,
        }
        command = ["node", "--test", "--test-reporter=spec", "--test-timeout=600000", "--test-concurrency=2"]
        command.append(f"--test-name-pattern={pattern}")
        tests = sorted(file.name for file in here.glob("*.test.mjs"))
        result = subprocess.run([*command, *tests], cwd=folder, env=os.environ | environment)
    print(f"    screenshots: {shots}")
    raise SystemExit(result.returncode)


main(*sys.argv[1:])
