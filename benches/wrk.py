"""Runs wrk with a script of this folder."""

import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def start(script, port, arguments, seconds, clients, threads):
    """Starts wrk. The script gets the arguments, and can load other files of this folder."""
    command = ["wrk", "--threads", str(threads), "--connections", str(clients), "--duration", f"{seconds}s",
               "--timeout", "20s", "--script", str(HERE / script), f"http://127.0.0.1:{port}", "--", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"LUA_PATH": f"{HERE}/?.lua;;"})


def result(process):
    """Waits for wrk, and returns its result."""
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"wrk failed with status {process.returncode}")
    return next(json.loads(line[7:]) for line in output.splitlines() if line.startswith("RESULT "))
