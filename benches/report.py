"""Collects and prints the results."""

import sys

rows, notes = [], []


def row(what, measured, target, met):
    rows.append((what, measured, target, "ok" if met else "MISSED"))
    print(f"  {what}: {measured} ({target}: {rows[-1][3]})", file=sys.stderr, flush=True)


def note(text):
    notes.append(text)
    print(f"  {text}", file=sys.stderr, flush=True)
