"""Collects and prints the results."""

import os
import platform
import sys

rows, notes = [], []


def row(what, measured, target, met):
    rows.append((what, measured, target, "ok" if met else "MISSED"))
    print(f"  {what}: {measured} ({target}: {rows[-1][3]})", file=sys.stderr, flush=True)


def note(text):
    notes.append(text)
    print(f"  {text}", file=sys.stderr, flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    kernel = platform.release().partition("-")[0]
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.system()} {kernel}; wrk runs on the same cores."
