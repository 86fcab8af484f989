"""Sets the system clocks of the replicas, with the shim in tests/interop/clock_shim."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

from processes import StartError

SOURCE = Path(__file__).resolve().parents[1] / "interop" / "clock_shim" / "clock_shim.c"


def compile_shim(folder):
    """Compiles the shim. Returns its path, or None if there is no C compiler."""
    if not shutil.which("cc"):
        return None
    library = folder / "clock_shim.so"
    done = subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise StartError(f"the shim of the clock does not compile: {done.stderr[-1000:]}")
    return library


class Clock:
    """The system clock of one replica, and the history of the shifts of this clock."""

    def __init__(self, library, file, journal):
        self.library, self.file, self.journal = library, file, journal
        # Pairs of a time of the journal and the shift in seconds from then on.
        self.changes = [(0, 0)]
        self.write(0)

    def environment(self):
        """Returns the variables for the process of the replica."""
        if self.library is None:
            return {}
        return {"LD_PRELOAD": str(self.library), "CLOCK_SHIM_FILE": str(self.file)}

    def write(self, shift):
        # Rewrite the file in place, because the replica has mapped it into memory.
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            file.write(struct.pack("=q", shift * 1000))

    def set(self, shift):
        """Shifts the clock by `shift` seconds. Takes effect at once, also in a running process."""
        # Keep the earlier changes: for a request that runs at this moment, `shifts` returns the old shift and
        # the new one.
        self.changes = [*self.changes, (self.journal.now(), shift)]
        self.write(shift)

    def shifts(self, since, until):
        """Returns all shifts that the clock had between two times of the journal."""
        changes = self.changes
        first = max(index for index, (at, _) in enumerate(changes) if at <= max(since, 0))
        return {shift for at, shift in changes[first:] if at <= until}
