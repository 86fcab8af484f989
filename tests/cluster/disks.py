"""Small disks that the test can fill, for the data of database servers."""

import os
import subprocess

SIZE_MIB = 768


class Disk:
    """A folder. If the test runs as root, the folder is a separate file system in memory, which can be full."""

    def __init__(self, path):
        self.path, self.filler = path, path / "filler"
        self.path.mkdir()
        self.is_mounted = os.geteuid() == 0 and self.run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs")

    def run(self, *command):
        done = subprocess.run([*command, str(self.path)], capture_output=True, check=False, stdin=subprocess.DEVNULL)
        return done.returncode == 0

    def fill(self):
        """Writes a file until there is no space."""
        with self.filler.open("wb", buffering=0) as file:
            for block in (1 << 20, 4096):
                try:
                    while True:
                        file.write(bytes(block))
                except OSError:
                    pass

    def free(self):
        self.filler.unlink(missing_ok=True)

    def remove(self):
        if self.is_mounted:
            self.is_mounted = not self.run("umount") and not self.run("umount", "-l")
