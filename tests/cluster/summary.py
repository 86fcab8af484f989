"""Prints the result of a run."""

import statistics
from collections import Counter

from faults import describe, first_after_promotion
from journal import SHOWN_VIOLATIONS


def print_summary(journal, engine, seed):
    total, seconds = sum(journal.outcomes.values()), journal.seconds
    print(f"\n{engine}, seed {seed}: {total:,} requests in {seconds:.0f} s, {total / seconds:.0f} a second; "
          f"the clients used {journal.cpu:.2f} of a core")
    print_outcomes(journal)
    print(f"\nchecks: {sum(journal.checks.values()):,}")
    for what, count in sorted(journal.checks.items()):
        print(f"  {what}: {count:,}")
    whole = [record for record in journal.faults if "whole" in record]
    print("\nfaults")
    for record in whole:
        print(f"  {describe(record)}")
    print_kinds(whole)
    print(f"\nviolations: {len(journal.violations)}")
    for at, text in journal.violations[:SHOWN_VIOLATIONS]:
        print(f"  at {at:.1f} s: {text}")


def print_outcomes(journal):
    by_operation = {}
    for (operation, outcome), count in journal.outcomes.items():
        by_operation.setdefault(operation, Counter())[outcome] = count
    print("\nrequests by outcome")
    everything = sum(by_operation.values(), Counter())
    for operation, outcomes in [("all", everything), *sorted(by_operation.items())]:
        shown = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
        print(f"  {operation}: {shown}")


def print_kinds(faults):
    """Prints the times of each kind of fault as a table."""
    kinds = {}
    for record in faults:
        kinds.setdefault(record["fault"], []).append(record)
    print("\n| fault | times | longest time without a write: median, maximum | "
          "first write after the new primary accepts writes: maximum |")
    print("|---|---|---|---|")
    for kind, records in sorted(kinds.items()):
        gaps = [record["gap"] for record in records]
        firsts = [first for first in map(first_after_promotion, records) if first is not None]
        first = f"{max(firsts):.1f} s" if firsts else "–"
        print(f"| {kind} | {len(records)} | {statistics.median(gaps):.1f} s, {max(gaps):.1f} s | {first} |")
