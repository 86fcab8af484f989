#!/usr/bin/env python3
"""Follows "Adding a resource" of CONTRIBUTING.md in a copy of the tree, and checks the result:

    .ci/adding_a_resource.py

An HTML comment before each code block of that section names the file of the block:

- After `<!-- file: PATH -->`, the block is the content of a new file.
- After `<!-- edit: PATH -->`, the block is a diff. Lines with `@@` separate its hunks, and the unchanged and
  removed lines of a hunk must occur exactly once in PATH, as consecutive lines.

A paragraph before the HTML comment must begin with the same path, because the rendered document does not show
HTML comments. CHECKS lists what runs for each command at the end of the section.

The copy is a temporary folder with all files that git does not ignore.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?\n)```$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"<!-- (file|edit): (\S+) -->\n\Z")
CLIPPY = "cargo clippy --workspace --all-targets --locked -- -D warnings"
TESTS = "places authz architecture contract::examples contract::lengths contract::openapi"

# The commands at the end of the section, and what this script runs for each. `--check` fails if the code in
# the document is not formatted. The tests are those that a new operation must pass.
CHECKS = {
    "cargo fmt --all": ["cargo fmt --all --check"],
    "cargo run -- openapi --write": ["cargo run --quiet --locked -- openapi --write", CLIPPY],
    "cargo test": [f"cargo test --locked --test it -- {TESTS}"],
}


class WalkthroughError(Exception):
    """A block that can't be applied, or a check that failed."""


def apply_hunk(lines, hunk):
    """Applies one hunk of a diff to the lines of a file."""
    old = [line[1:] for line in hunk if not line.startswith("+")]
    new = [line[1:] for line in hunk if not line.startswith("-")]
    places = [start for start in range(len(lines)) if lines[start : start + len(old)] == old]
    if len(places) != 1:
        raise WalkthroughError(f"these lines occur {len(places)} times, not once:\n" + "\n".join(old))
    lines[places[0] : places[0] + len(old)] = new


def apply_block(kind, file, content):
    if kind == "file":
        if file.exists():
            raise WalkthroughError("the new file exists already")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return
    if not file.is_file():
        raise WalkthroughError("there is no such file")
    lines = file.read_text().split("\n")
    for hunk in re.split(r"^@@.*\n", content, flags=re.MULTILINE):
        apply_hunk(lines, hunk.splitlines())
    file.write_text("\n".join(lines))


def apply_section(text, tree):
    """Applies every code block of the section to a tree, and returns the number of blocks."""
    count, previous_end = 0, 0
    for block in BLOCK.finditer(text):
        language, content = block.groups()
        before, previous_end = text[previous_end : block.start()], block.end()
        if language not in ("rust", "diff"):
            continue
        line = text.count("\n", 0, block.start()) + 1
        marker = MARKER.search(before)
        if not marker:
            raise WalkthroughError(f"{DOCUMENT}:{line}: no comment names the file of this block")
        kind, path = marker.groups()
        if f"\n\n`{path}`" not in before:
            raise WalkthroughError(f"{DOCUMENT}:{line}: the text before the block must begin with `{path}`")
        try:
            apply_block(kind, tree / path, content)
        except WalkthroughError as error:
            raise WalkthroughError(f"{DOCUMENT}:{line}: {kind} {path}: {error}") from None
        count += 1
    return count


def documented_commands(text):
    marked = BLOCK.search(text, text.index("<!-- ci:adding-a-resource -->"))
    return marked[2].splitlines()


def copy_tree(destination):
    """Copies the files that git does not ignore."""
    git = ["git", "-c", f"safe.directory={ROOT}"]
    files = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git + files, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in listed.split("\0"):
        if (ROOT / name).is_file():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, destination / name)


def share_dependencies(tree):
    """Returns the environment for cargo in the copy.

    The copy uses the build directory of the real tree, which contains the compiled dependencies. Cargo names
    compiled files by package and profile, not by the folder of the workspace: with the same profile, the copy
    would replace the compiled packages of the real tree. Therefore this function sets an option in the
    profile of each package of the copy. The value is the default, so only the names of the compiled files
    differ. The linked programs are stored in the copy.
    """
    manifests = [tree / "Cargo.toml", *tree.glob("*/Cargo.toml"), *tree.glob("*/*/Cargo.toml")]
    with (tree / ".cargo" / "config.toml").open("a") as config:
        for manifest in manifests:
            if package := re.search(r'^\[package\]\nname = "([^"]+)"', manifest.read_text(), re.MULTILINE):
                config.write(f"\n[profile.dev.package.{package[1]}]\ncodegen-units = 16\n")
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    # What the tests of the copy observe must not be recorded as observed in the real API.
    environment = {name: value for name, value in os.environ.items() if name != "TRIPGATE_TEST_SEEN"}
    return environment | {"CARGO_BUILD_BUILD_DIR": str(target), "CARGO_TARGET_DIR": str(tree / "target")}


def main():
    text = (ROOT / DOCUMENT).read_text()
    with tempfile.TemporaryDirectory(prefix="tripgate-resource.") as name:
        tree = Path(name)
        copy_tree(tree)
        print(f"    {apply_section(text, tree)} blocks applied", flush=True)
        environment = share_dependencies(tree)
        for documented in documented_commands(text):
            if documented not in CHECKS:
                raise WalkthroughError(f"{DOCUMENT}: this script does not know the command `{documented}`")
            for command in CHECKS[documented]:
                print(f"    {command}", flush=True)
                if subprocess.run(command.split(), cwd=tree, env=environment, check=False).returncode:
                    raise WalkthroughError(f"failed with the resource of {DOCUMENT}: {command}")


if __name__ == "__main__":
    try:
        main()
    except WalkthroughError as error:
        sys.exit(f"adding_a_resource: {error}")
