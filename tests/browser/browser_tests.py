#!/usr/bin/env python3
"""Uses the pages as people do, in a real browser, against a running server:

    tests/browser/browser_tests.py BINARY NODE_MODULES [TEST-NAME-PATTERN]

NODE_MODULES holds playwright-core; the browser is Debian's `chromium`. Access tokens are as short as
the server allows, so that one runs out under the eyes of the tests. The screenshots are left in a
folder of their own, to be looked at.
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

from test_server import TestServer  # noqa: E402

ACCESS_TTL_SECS = 60


def main(binary, modules, pattern="."):
    shots = tempfile.mkdtemp(prefix="tripgate-screenshots.")
    with (
        tempfile.TemporaryDirectory(prefix="tripgate-browser.") as folder,
        TestServer(binary, "ES256", access_ttl_secs=ACCESS_TTL_SECS) as server,
    ):
        # An ES module finds its libraries beside itself alone.
        for file in here.glob("*.mjs"):
            shutil.copy(file, folder)
        (Path(folder) / "node_modules").symlink_to(Path(modules).resolve())
        told = {
            "SERVER": server.issuer,
            "SCREENSHOTS": shots,
            "CHROMIUM": shutil.which("chromium") or "chromium",
            # A browser without a home of its own writes into that of whoever runs this.
            "HOME": folder,
        }
        command = ["node", "--test", "--test-reporter=spec", "--test-timeout=600000"]
        command.append(f"--test-name-pattern={pattern}")
        done = subprocess.run([*command, "pages.test.mjs"], cwd=folder, env=os.environ | told)
    print(f"    the screenshots are in {shots}")
    raise SystemExit(done.returncode)


main(*sys.argv[1:])
