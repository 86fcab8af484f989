#!/usr/bin/env python3
"""Generates SDKs from the committed document, with the commands of docs/app-developers.md, and tests them:

    tests/sdk/generate_and_use.py BINARY NODE_MODULES CARGO_ROOT

The TypeScript, Python and Rust SDKs are type-checked and run one scenario against a server: sign-up, login,
refresh, paging, retry, conflict, validation errors, logout. The Kotlin, Swift and Dart SDKs are parsed,
and Kotlin's models are compiled. A generator's warning is a failure, and so is a method whose name differs
from docs/app-developers.md. NODE_MODULES and CARGO_ROOT contain the generators that the commands name, in
the same versions.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

here = Path(__file__).resolve().parent
root = here.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(here.parent / "support"), str(here)]

from names import check_names, marked  # noqa: E402
from test_server import TestServer  # noqa: E402
from syntax import check_syntax, compile_kotlin  # noqa: E402

WARNING = re.compile(r"\bWARN|\bwarn(ing)?\b|Warning|\bERROR\b|\berror:|Exception in")


class Tools:
    """Replaces `npx`, `pipx run` and `cargo install` in the commands of docs/app-developers.md."""

    def __init__(self, modules, cargo_root):
        self.modules, self.cargo_root = Path(modules).resolve(), Path(cargo_root).resolve()

    def installed(self, command):
        """Returns the command with the installed generator, or None for a command that only installs."""
        words = shlex.split(command)
        if words[0] == "npx":
            return self.npm_command(words)
        if words[:2] == ["pipx", "run"]:
            name, version = words[2].split("==")
            self.expect(command, version, metadata.version(name))
            return shlex.join([str(Path(sys.executable).parent / name), *words[3:]])
        if words[:2] == ["cargo", "install"]:
            name, version = words[-1].split("@")
            listed = json.loads((self.cargo_root / ".crates2.json").read_text())["installs"]
            self.expect(command, f"{name} {version}", *(crate.split(" (")[0] for crate in listed))
            return None
        return command

    def npm_command(self, words):
        program_index = 1 + 2 * words.count("-p")
        packages = [words[i + 1] for i, word in enumerate(words) if word == "-p"] or [words[program_index]]
        for package in packages:
            name, version = package.rsplit("@", 1)
            manifest = json.loads((self.modules / name / "package.json").read_text())
            self.expect(package, version, manifest["version"])
        program = self.modules / ".bin" / words[program_index].rsplit("@", 1)[0]
        return shlex.join([str(program), *words[program_index + 1 :]])

    def expect(self, command, expected, *installed):
        if expected not in installed:
            raise SystemExit(f"{command}: expected {expected}, but {', '.join(installed)} is installed")


def run(command, **options):
    """Runs a program that must succeed without a warning or an error in its output."""
    result = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    )
    if result.returncode or WARNING.search(result.stdout):
        lines = result.stdout.splitlines()
        warnings = [line for line in lines if WARNING.search(line)] or lines
        raise SystemExit("\n".join([f"{command}: status {result.returncode}", *warnings[:60]]))
    return result.stdout


def generate(tools, folder):
    shutil.copytree(root / "openapi", folder / "openapi")
    path = f"{tools.cargo_root / 'bin'}:{tools.modules / '.bin'}:{os.environ['PATH']}"
    for line in marked("ci:sdk"):
        if not line.startswith("#") and (command := tools.installed(line)):
            run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=os.environ | {"PATH": path})
    return folder / "sdk"


class Rust:
    """Builds the Rust client in the background, because this build takes the longest time."""

    def __init__(self, sdk, binary):
        # A fixed folder in the target directory instead of a temporary one, so that builds are incremental across
        # runs.
        self.folder = Path(binary).resolve().parent.parent / "sdk"
        shutil.rmtree(self.folder / "scenario", ignore_errors=True)
        shutil.copytree(here / "rust", self.folder / "scenario")
        shutil.copytree(sdk / "rust", self.folder / "scenario" / "client")
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["cargo", "build", "--quiet", "--locked", "--package", "scenario"],
                cwd=self.folder / "scenario",
                env=os.environ | {"CARGO_TARGET_DIR": str(self.folder), "RUSTFLAGS": "-D warnings"},
                stdout=log,
                stderr=log,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def built(self):
        status = self.process.wait()
        if (text := self.log.read_text(errors="replace")) or status:
            raise SystemExit(f"cargo build: status {status}\n{text[-8000:]}")
        return str(self.folder / "debug" / "scenario")


def typescript(tools, sdk, folder):
    """Type-checks both TypeScript clients and returns the commands that run them."""
    shutil.copytree(here / "typescript", folder / "typescript", dirs_exist_ok=True)
    shutil.copytree(sdk / "typescript", folder / "typescript" / "sdk")
    shutil.copy(sdk / "tripgate.d.ts", folder / "typescript")
    (folder / "node_modules").symlink_to(tools.modules)
    run([str(tools.modules / ".bin" / "tsc"), "--project", str(folder / "typescript")])
    scripts = folder / "typescript" / "js"
    return ["node", str(scripts / "hey.js")], ["node", str(scripts / "fetch.js")]


def python(sdk, folder):
    shutil.copytree(sdk / "python" / "tripgate_client", folder / "python" / "tripgate_client")
    shutil.copy(here / "python" / "scenario.py", folder / "python")
    packages = ["--package", "tripgate_client", "--module", "scenario"]
    run([sys.executable, "-m", "mypy", "--strict", *packages], cwd=folder / "python")
    return [sys.executable, "-W", "error", str(folder / "python" / "scenario.py")]


def main(binary, modules, cargo_root):
    tools, start = Tools(modules, cargo_root), time.monotonic()

    def report(message):
        print(f"    {message}, {time.monotonic() - start:.0f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="tripgate-sdk.") as name:
        folder = Path(name)
        sdk = generate(tools, folder)
        report("generated")
        with Rust(sdk, binary) as rust:
            report(f"{check_names(root, sdk)} names match docs/app-developers.md")
            for language, files in check_syntax(sdk).items():
                report(f"{language}: {files} files parsed")
            report(f"Kotlin: {compile_kotlin(sdk, tools.modules, folder)} classes compiled")
            hey, fetch = typescript(tools, sdk, folder)
            report("TypeScript: checked")
            scenarios = {"@hey-api/openapi-ts": hey, "openapi-fetch": fetch}
            scenarios["openapi-python-client"] = python(sdk, folder)
            report("Python: checked")
            scenarios["progenitor"] = [rust.built()]
            report("Rust: built")
        with TestServer(binary, "ES256") as server:
            for generator, command in scenarios.items():
                if run([*command, server.issuer], timeout=60).splitlines()[-1:] != ["done"]:
                    raise SystemExit(f"{generator}: the scenario did not finish")
                report(f"{generator}: the scenario passed")


main(*sys.argv[1:])
