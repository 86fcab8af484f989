"""Prepares ES modules that Node runs."""

import shutil
from pathlib import Path


def copy_modules(source, folder, libraries):
    """Copies the ES modules of `source` to `folder`, beside a link to `libraries`. Node looks for the libraries of
    an ES module in `node_modules` of the module's folder or of a parent folder."""
    for file in source.glob("*.mjs"):
        shutil.copy(file, folder)
    (Path(folder) / "node_modules").symlink_to(Path(libraries).resolve())
