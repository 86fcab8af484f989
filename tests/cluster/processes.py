"""Starts, stops and signals the processes of a cluster.

Database servers refuse to run as root. If the test runs as root, it starts the database servers as the user
`nobody`. Each process has its own log file and its own process group. A node is a tree of processes; `kill` and
`pause` act on the whole tree, as the loss or the freeze of a machine would.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The range of the ports. The ephemeral ports of outgoing connections begin above this range.
FIRST_PORT, LAST_PORT = 20000, 32000


class StartError(Exception):
    """A process of the cluster did not start; the text says which one, and shows the end of its log."""


class Ports:
    """Allocates free ports below the range of ephemeral ports, so that no outgoing connection takes them."""

    def __init__(self):
        self.next = FIRST_PORT + (os.getpid() * 37) % (LAST_PORT - FIRST_PORT - 200)

    def take(self):
        while True:
            port, self.next = self.next, self.next + 1
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port


def find_program(name, package):
    """Returns the path of a program, in the newest release that Debian's PostgreSQL packages have installed."""
    releases = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
                      key=lambda path: int(path.parts[-3]), reverse=True)
    found = [str(path) for path in releases] + [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if not found[0]:
        raise StartError(f"{name} is not installed; on Debian: apt-get install {package}")
    return found[0]


def unprivileged(command):
    """Returns the command. If this process is root, the returned command runs as `nobody`."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", *command]


def new_folder():
    """Creates the folder of the data, in memory if there is space for it."""
    parent = None
    if not os.environ.get("TMPDIR") and os.access("/dev/shm", os.W_OK):
        free = shutil.disk_usage("/dev/shm").free
        parent = "/dev/shm" if free > 4 << 30 else None
    folder = Path(tempfile.mkdtemp(prefix="tripgate-cluster.", dir=parent))
    folder.chmod(0o755)
    return folder


def give(path):
    """Gives a file or an empty folder to the user of the unprivileged processes."""
    if os.geteuid() == 0:
        shutil.chown(path, "nobody", "nogroup")
    return path


def parents():
    """Returns the parent of each process of the machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(fields[1])
    return found


def tree(roots):
    """Returns the given processes and their descendants, parents first."""
    children = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found, queue = [], [pid for pid in roots if Path(f"/proc/{pid}").exists()]
    while queue:
        pid = queue.pop(0)
        if pid not in found:
            found.append(pid)
            queue += children.get(pid, [])
    return found


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def pause(roots):
    """Stops the trees of processes with SIGSTOP, parents first, until no new child is found. Returns the pids."""
    stopped = []
    while new := [pid for pid in tree(roots) if pid not in stopped]:
        signal_all(new, signal.SIGSTOP)
        stopped += new
    return stopped


def resume(pids):
    signal_all(reversed(pids), signal.SIGCONT)


def kill(roots):
    """Kills the trees of processes with SIGKILL. Stops the processes first, so that they start no other process."""
    pids = pause(roots)
    signal_all(pids, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_running(pid):
    """Returns whether a process exists and has not ended. A zombie has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Process:
    """A process whose output is appended to a log file."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.log = name, folder / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("TRIPGATE_", "PG"))}
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(command, cwd=folder, env=clean | (environment or {}), stdout=log, stderr=log,
                                          stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.child.pid

    def has_ended(self):
        return self.child.poll() is not None

    def terminate(self, seconds=20):
        """Ends the process with SIGTERM, or after `seconds` with SIGKILL. Returns whether SIGTERM was enough."""
        if self.has_ended():
            return True
        self.child.terminate()
        try:
            self.child.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def kill(self):
        kill([self.pid])
        self.child.wait()

    def log_end(self, lines=20):
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line[:400] for line in text)


def wait_for(what, condition, seconds, process=None):
    """Waits until `condition` returns a true value, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        if process and process.has_ended():
            break
        time.sleep(0.1)
    log = f"; the end of its log:\n{process.log_end()}" if process else ""
    raise StartError(f"{what} took more than {seconds} s or failed{log}")


def run(command, seconds=60, environment=None):
    """Runs a command until it ends. Returns its output; raises StartError if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd="/",
                              env=os.environ | (environment or {}), stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise StartError(f"{command[0]} took more than {seconds} s") from error
    if done.returncode != 0:
        raise StartError(f"{' '.join(command[:4])} failed: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stdout, flush=True)
