"""Records what happened: requests by outcome, violations, acknowledged writes, and faults. Thread-safe."""

import threading
import time
from collections import Counter

SHOWN_VIOLATIONS = 40


class Journal:
    """The record of a run. Times are in seconds since its start."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begin = time.monotonic()
        self.outcomes, self.checks = Counter(), Counter()
        self.violations, self.faults = [], []
        # Start and end of each acknowledged write, by replica.
        self.writes = {}
        self.codes = Counter()

    def now(self):
        return time.monotonic() - self.begin

    def count(self, operation, outcome):
        with self.lock:
            self.outcomes[operation, outcome] += 1

    def checked(self, what):
        with self.lock:
            self.checks[what] += 1

    def violation(self, text):
        """Records that the server broke a promise."""
        with self.lock:
            self.violations.append((self.now(), text))
            number = len(self.violations)
        if number <= SHOWN_VIOLATIONS:
            print(f"VIOLATION at {self.now():.1f} s: {text}", flush=True)

    def expect(self, what, is_kept, text):
        """Counts a check, and records a violation if it failed. `text` is a string or a function."""
        self.checked(what)
        if not is_kept:
            self.violation(f"{what}: {text() if callable(text) else text}")
        return is_kept

    def wrote(self, replica, started, ended):
        with self.lock:
            self.writes.setdefault(replica, []).append((started, ended))

    def first_write(self, since, replica=None):
        """Returns the end of the first acknowledged write that began after `since`, or None."""
        with self.lock:
            names = [replica] if replica is not None else list(self.writes)
            ends = [end for name in names for start, end in self.writes.get(name, [])[-2000:] if start >= since]
        return min(ends, default=None)

    def longest_gap(self, since, until):
        """Returns the longest time without an acknowledged write on any replica, in seconds."""
        with self.lock:
            ends = sorted(end for ends in self.writes.values() for _, end in ends if since <= end <= until)
        points = [since, *ends, until]
        return max(later - earlier for earlier, later in zip(points, points[1:]))
