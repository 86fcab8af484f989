"""Prints the result of a run."""

from collections import Counter

from faults import describe
from journal import SHOWN_VIOLATIONS


def print_summary(journal, engine, seed):
    total = sum(journal.outcomes.values())
    seconds = journal.now()
    print(f"\n{engine}, seed {seed}: {total:,} requests in {seconds:.0f} s, {total / seconds:.0f} a second; "
          f"the clients used {journal.cpu:.2f} of a core")
    print("\nrequests by outcome")
    by_operation = {}
    for (operation, outcome), count in journal.outcomes.items():
        by_operation.setdefault(operation, Counter())[outcome] = count
    for operation, outcomes in sorted(by_operation.items()):
        shown = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
        print(f"  {operation}: {shown}")
    print("\nchecks")
    for what, count in sorted(journal.checks.items()):
        print(f"  {what}: {count:,}")
    print("\nfaults")
    for record in journal.faults:
        if "whole" in record:
            print(f"  {describe(record)}")
    print(f"\nviolations: {len(journal.violations)}")
    for at, text in journal.violations[:SHOWN_VIOLATIONS]:
        print(f"  at {at:.1f} s: {text}")
