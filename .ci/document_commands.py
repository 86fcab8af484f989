#!/usr/bin/env python3
"""Runs the commands in the documents, and compares their output with the output that the documents show:

    .ci/document_commands.py [BINARY]          (default: target/debug/tripgate)

Every shell block of every document must be run. There are these kinds:

- A block that ends with `cargo run` starts a server. This script starts its servers with such a block of the
  README. A block with TRIPGATE_DATABASE_URL runs on a database of `.ci/with_database.sh`, after the SQL block
  that precedes it.
- `<!-- ci:STEP -->` precedes a block that a step of `.ci/run` reads from the document and runs.
- `<!-- not run: REASON -->` precedes a block that can't run here.
- All other blocks run in the order of RUN_GROUPS, with one shell and one new server for each group of
  documents.

The block after a shell block shows its output; see `output_pattern` for what may differ. A problem (RFC 9457)
that the document does not show is a failure. Requires curl, sqlite3, psql and mariadb.

Other commands are checked without running them: the `tripgate` commands in the text must have a valid form,
and `.ci/run` must contain the commands in CONTRIBUTING.md's table of checks.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
# The documents of a group share one shell and one server. The groups run in this order.
RUN_GROUPS = [["README.md"], ["docs/app-developers.md", "docs/services.md", "docs/operations.md"]]
# The commands in this document test the sources, so they run in the project, without a server.
FOR_CONTRIBUTORS = "CONTRIBUTING.md"
SHELLS = ("sh", "bash", "shell", "console")

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"<!-- (ci:\S+|not run: .+) -->\n\Z")
# Documented values that differ in each run, apart from those shortened with `…`.
VARYING = [r"\d{4}-\d\d-\d\dT[\d:.]+Z", r'"(?:exp|iat|expires_in)":\d+', r"curl/[\d.]+"]

# A response that reports an error contains this text.
PROBLEM = '"type":"/problems/'


class DocumentError(Exception):
    """A command failed, or its output differs from the document."""


@dataclass
class Block:
    """A fenced block of a document."""

    document: str
    line: int
    language: str
    text: str
    marker: str
    output: str = ""

    def __str__(self):
        return f"{self.document}:{self.line}"

    @property
    def starts_server(self):
        return self.text.endswith("cargo run\n")

    @property
    def database(self):
        found = re.match("TRIPGATE_DATABASE_URL=(postgres|mysql)://", self.text)
        return found[1] if found else ""


def read_blocks(document):
    """Returns the blocks of a document, with the `json` or `text` block after a shell block as its output."""
    text, blocks, previous_end = (ROOT / document).read_text(), [], 0
    for found in BLOCK.finditer(text):
        language, content = found.groups()
        before, previous_end = text[previous_end : found.start()], found.end()
        if language in ("json", "text") and not before.strip() and blocks[-1].language in SHELLS:
            blocks[-1].output = content
            continue
        marker = MARKER.search(before)
        line = text.count("\n", 0, found.start()) + 1
        blocks.append(Block(document, line, language, content, marker[1] if marker else ""))
    return blocks


def shell_blocks(document):
    return [block for block in read_blocks(document) if block.language in SHELLS]


# --- running


class Server:
    """A server that a documented command starts, in an empty folder below the project, so that cargo finds
    the project. Its settings are the defaults, apart from the port. Leaving the `with` block stops it."""

    def __init__(self, command):
        self.command = command
        (ROOT / "target").mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="documents.", dir=ROOT / "target"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = clean_environment() | {"TRIPGATE_LISTEN": self.address}
        self.log = self.folder / "log"

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", self.command],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Cargo may have to compile the server first.
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.address}/health/ready", timeout=5).close()
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        log = self.log.read_text(errors="replace")
        self.stop()
        raise DocumentError(f"the server did not start:\n{self.command}{log[-4000:]}")

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)
        shutil.rmtree(self.folder)


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIPGATE_")}


def run_in_shell(blocks, folder, environment, replace):
    """Runs blocks in one shell in this folder, and yields each block with its output. `replace` returns the
    text that is run in place of the text of a block."""
    with tempfile.TemporaryDirectory(prefix="tripgate-documents.") as name:
        results = [Path(name) / str(index) for index in range(len(blocks))]
        script = "".join(
            f"{{\n{replace(block.text)}}} >{result}.out 2>{result}.err\n"
            for block, result in zip(blocks, results, strict=True)
        )
        status = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            check=False,
            timeout=1800,
        ).returncode
        outputs = [result.with_suffix(".out") for result in results]
        started = [output.read_text() for output in outputs if output.exists()]
        for index, (block, output) in enumerate(zip(blocks, started, strict=False)):
            if status and index == len(started) - 1:
                errors = results[index].with_suffix(".err").read_text()
                raise DocumentError(f"{block}: exit status {status}\n{block.text}{output}{errors}")
            yield block, output


def output_pattern(shown):
    """Returns a pattern for the output that a document shows.

    In a document, `…` matches any text, together with the letters, digits, dots and hyphens directly before
    it. A value that matches a pattern in VARYING may be any text that matches this pattern. Line breaks are
    ignored, because curl prints none after a response, and because documents break long lines before a space.
    """
    shown = re.sub(r"\n ?", "", shown)
    pattern, end = "", 0
    for varying in re.finditer("|".join([r"[\w.-]*…", *VARYING]), shown):
        form = next((form for form in VARYING if re.fullmatch(form, varying[0])), ".*?")
        pattern, end = pattern + re.escape(shown[end : varying.start()]) + form, varying.end()
    return pattern + re.escape(shown[end:])


def compare_output(block, output):
    if block.output and not re.fullmatch(output_pattern(block.output), output.replace("\n", "")):
        raise DocumentError(f"{block}: the document shows\n{block.output}but the output is\n{output}")
    if PROBLEM in output and PROBLEM not in block.output:
        raise DocumentError(f"{block}: a problem that the document does not show\n{block.text}{output}")


def run_group(documents, start_command, binary):
    """Runs the blocks of a group of documents with one server and one shell."""
    blocks = [block for document in documents for block in shell_blocks(document)]
    blocks = [block for block in blocks if not block.marker and not block.starts_server]
    with Server(start_command) as server:
        path = f"{binary.parent}:{os.environ['PATH']}"
        environment = server.environment | {"PATH": path, "HOME": str(server.folder)}
        documented = "127.0.0.1:8080"

        def replace(text):
            return text.replace(documented, server.address)

        for block, output in run_in_shell(blocks, server.folder, environment, replace):
            compare_output(block, output.replace(server.address, documented))
    return len(blocks)


def run_tests():
    """Runs the test commands for contributors, with fewer cases. Each command must run at least one test."""
    blocks = [block for block in shell_blocks(FOR_CONTRIBUTORS) if not block.marker]

    def replace(text):
        return re.sub(r"(PROPTEST_CASES|TRIPGATE_TEST_ROUNDS)=\d+", r"\1=20", text)

    for block, output in run_in_shell(blocks, ROOT, clean_environment(), replace):
        if re.search(r"^test result: ok\. 0 passed", output, re.MULTILINE):
            raise DocumentError(f"{block}: a command runs no test\n{block.text}")
    return len(blocks)


def run_with_database():
    """Runs the SQL and the start command for the database server that TRIPGATE_TEST_DATABASE_URL names.

    The port and the name `tripgate` are replaced: that server has another port, and already has a user of
    this name.
    """
    url = urlsplit(os.environ["TRIPGATE_TEST_DATABASE_URL"])
    blocks = read_blocks("docs/operations.md")
    start = [block.database for block in blocks].index(url.scheme)
    before, block = blocks[start - 1], blocks[start]
    if before.language != "sql":
        raise DocumentError(f"{block}: no SQL block precedes it")
    sql, command = (text.replace("tripgate", "tripgate_docs") for text in (before.text, block.text))
    client = {
        "postgres": ["psql", "--quiet", "--set=ON_ERROR_STOP=1", url.geturl()],
        "mysql": ["mariadb", f"--host={url.hostname}", f"--port={url.port}", f"--user={url.username}"],
    }[url.scheme]
    environment = os.environ | {"MYSQL_PWD": url.password}
    if subprocess.run(client, input=sql, text=True, env=environment, check=False).returncode:
        raise DocumentError(f"{before}: the SQL failed\n{sql}")
    with Server(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{url.port}", command)):
        print(f"    {before}, {block}: the server starts on {url.scheme}", flush=True)


# --- comparing


def check_markers(documents):
    """Checks that each shell block of the documents is run, by this script or by a step of `.ci/run`."""
    scripts = [ROOT / ".ci" / "run", ROOT / ".ci" / "adding_a_resource.py", *ROOT.glob("tests/*/*.py")]
    scripts = "\n".join(script.read_text() for script in scripts)
    read_here = {document for group in RUN_GROUPS for document in group} | {FOR_CONTRIBUTORS}
    first = {}
    for block in [block for document in documents for block in shell_blocks(document)]:
        if block.marker.startswith("not run: "):
            print(f"    {block}: {block.marker}")
            continue
        if block.marker and not re.search(rf"\b{block.marker}\b", scripts):
            raise DocumentError(f"{block}: no script reads the block with the marker {block.marker}")
        if not block.marker and block.document not in read_here:
            raise DocumentError(f"{block}: this block is neither run nor marked with a reason")
        # Blocks with the same marker must be equal, because only one of them is run. The same applies to
        # blocks that start a server on the same database.
        kind = block.marker or (block.starts_server and f"cargo run {block.database}")
        if kind and first.setdefault(kind, block).text != block.text:
            raise DocumentError(f"{block}: differs from {first[kind]}, but only one of them is run")


def check_command_forms(documents, binary):
    """Checks that the `tripgate` commands in the text of the documents exist: `--help` fails after an unknown
    word."""
    commands = set()
    for document in documents:
        commands |= set(re.findall(r"`(tripgate(?: [^`]+)?)`", (ROOT / document).read_text()))
    for command in sorted(commands):
        # Turn a usage into a command: `migrate down [--steps N]` into `migrate down --steps 1`, and `openapi
        # [json\|yaml]` into `openapi json`. In a table, `|` is written as `\|`.
        words = re.sub(r"[\[\]]|\\\|\w+", "", command).replace(" N", " 1").split()
        result = subprocess.run([binary, *words[1:], "--help"], capture_output=True, text=True, check=False)
        if result.returncode:
            raise DocumentError(f"the documents name `{command}`:\n{result.stderr}")
    return len(commands)


def check_table_of_checks():
    """Compares the table in CONTRIBUTING.md with `.ci/run`: the words of the first command of each row must
    occur in the same order in one line of `.ci/run`. Words in capitals are placeholders."""
    text = (ROOT / FOR_CONTRIBUTORS).read_text()
    table = text.split("| check | command |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    steps = (ROOT / ".ci" / "run").read_text()
    rows = [row for row in table.splitlines() if "(not part of `.ci/run`)" not in row]
    for row in rows:
        command = row.split("|")[2].split("`")[1]
        words = [re.escape(word) for word in command.split() if not re.fullmatch(r"\[?[A-Z_]+\]?", word)]
        if not re.search(".*".join(words), steps):
            raise DocumentError(f"{FOR_CONTRIBUTORS} names `{command}`, which .ci/run does not run")
    return len(rows)


def main(arguments):
    if arguments == ["--with-database"]:
        run_with_database()
        return
    binary = Path(arguments[0] if arguments else TARGET / "debug" / "tripgate").resolve()
    documents = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    check_markers(documents)
    print(f"    {check_table_of_checks()} checks in the table of {FOR_CONTRIBUTORS} are those of .ci/run")
    start_command = next(block.text for block in shell_blocks("README.md") if block.starts_server)
    for group in RUN_GROUPS:
        print(f"    {', '.join(group)}: {run_group(group, start_command, binary)} blocks passed", flush=True)
    print(f"    {check_command_forms(documents, binary)} commands in the text have a valid form", flush=True)
    for kind in ("postgres", "mariadb"):
        command = [ROOT / ".ci" / "with_database.sh", kind, "--", sys.executable, __file__, "--with-database"]
        if subprocess.run(command, check=False).returncode:
            raise DocumentError(f"the commands for {kind} failed")
    print(f"    {FOR_CONTRIBUTORS}: {run_tests()} blocks passed", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DocumentError as error:
        sys.exit(f"document_commands: {error}")
