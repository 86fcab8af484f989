"""Reads the configuration files of docs/operations.md, so that the test runs what the document shows."""

import re
import textwrap
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def read_block(language, contents):
    """Returns the first block of code with this language and contents, without its indentation."""
    for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", DOCUMENT.read_text(), re.S | re.M):
        text = textwrap.dedent(block)
        if contents in text:
            return text
    raise SystemExit(f"{DOCUMENT.name} has no block {language} that contains {contents!r}")


def replace(text, replacements):
    """Replaces each text. A missing text is an error: the document has changed."""
    for old, new in replacements.items():
        if old not in text:
            raise SystemExit(f"{DOCUMENT.name}: a block does not contain {old!r}")
        text = text.replace(old, str(new))
    return text
