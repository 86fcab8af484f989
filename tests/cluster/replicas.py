"""The replicas of Tripgate. A supervisor restarts each one that ends, as systemd does."""

import http.client
import json
import threading

from clocks import Clock, compile_shim
from processes import Process, run, wait_for

PAUSE_BEFORE_RESTART_SECS = 1
SETTINGS = {
    "TRIPGATE_BCRYPT_COST": "4",
    "TRIPGATE_ACCESS_TTL_SECS": "300",
    "TRIPGATE_LOG": "info,tripgate::access=warn",
    # The address of the load balancer.
    "TRIPGATE_TRUSTED_PROXIES": "127.0.0.1",
}


class Replica:
    """One server process, its ports, its clock, and what has happened to it."""

    is_proxy = False

    def __init__(self, number, binary, ports, settings, clock, folder):
        self.number, self.binary, self.folder, self.clock = number, binary, folder, clock
        self.port, self.metrics_port = ports
        own = folder / f"replica{number}"
        own.mkdir()
        self.environment = SETTINGS | clock.environment() | settings | {
            "TRIPGATE_LISTEN": f"127.0.0.1:{self.port}",
            "TRIPGATE_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "TRIPGATE_DATA_DIR": str(own),
            "TRIPGATE_SECRET_FILE": str(folder / "secret"),
        }
        self.process, self.starts = None, 0
        # Whether the supervisor leaves the process stopped, and whether clients send no requests to this replica.
        self.is_held, self.is_out = False, False
        # The processes that the harness has ended itself. Any other process that ends has crashed.
        self.ended_by_harness = set()

    def start(self):
        self.process = Process(f"replica{self.number}", [self.binary, "serve"], self.folder, self.environment)
        self.starts += 1

    def kill(self):
        self.ended_by_harness.add(self.process.pid)
        self.process.kill()

    def restart(self):
        """Ends the process with SIGTERM; the supervisor starts another. Returns whether the process ended in time."""
        self.ended_by_harness.add(self.process.pid)
        return self.process.terminate()

    def version(self):
        return run([self.binary, "--version"]).split()[-1]

    def get(self, port, path):
        """Returns the status and the body of a response, or 0 and an empty text if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def readiness(self):
        """Returns `ready`, the code of the problem that `/health/ready` returns, or an empty text."""
        status, body = self.get(self.port, "/health/ready")
        return "ready" if status == 200 else json.loads(body)["code"] if status else ""

    def is_ready(self):
        return self.readiness() == "ready"

    def reports(self, kind):
        """Returns whether the metrics report another server on the database that differs in `kind`."""
        return f'tripgate_replica_mismatch{{kind="{kind}"}} 1\n' in self.get(self.metrics_port, "/metrics")[1]


class Replicas:
    """All replicas, with one secret and one public URL."""

    def __init__(self, binary, ports, engine, folder, count, journal):
        taken = [(ports.take(), ports.take()) for _ in range(count)]
        url = f"http://127.0.0.1:{taken[0][0]}"
        (folder / "secret").write_text("0123456789abcdef" * 4 + "\n")
        (folder / "secret").chmod(0o600)
        self.journal, self.shim = journal, compile_shim(folder)
        self.all = []
        for number, pair in enumerate(taken):
            settings = {"TRIPGATE_PUBLIC_URL": url, "TRIPGATE_DATABASE_URL": engine.url(number)}
            clock = Clock(self.shim, folder / f"clock{number}", journal)
            self.all.append(Replica(number, binary, pair, settings, clock, folder))
        self.is_stopping = threading.Event()
        self.supervisor = threading.Thread(target=self.supervise, daemon=True)

    def missing_faults(self):
        return {} if self.shim else {"wrong_clock": "needs a C compiler"}

    def start(self):
        """Starts all replicas at the same time on the empty database."""
        for replica in self.all:
            replica.start()
        for replica in self.all:
            wait_for(f"the start of replica {replica.number}", replica.is_ready, 90, replica.process)
        self.supervisor.start()

    def supervise(self):
        while not self.is_stopping.wait(0.1):
            for replica in self.all:
                if replica.process.has_ended() and not replica.is_held:
                    self.note_end(replica)
                    if self.is_stopping.wait(PAUSE_BEFORE_RESTART_SECS):
                        return
                    replica.start()

    def note_end(self, replica):
        """Reports a process that ended by itself or did not stop cleanly. A failed start without a database
        is only counted."""
        status = replica.process.child.returncode
        if replica.process.pid in replica.ended_by_harness:
            if status not in (0, -9):
                self.journal.violation(f"replica {replica.number} exited with status {status} after SIGTERM")
        elif status == 2 and "the database" in replica.process.log_end():
            self.journal.count("start of a replica", "failed: no database")
        else:
            self.journal.violation(f"replica {replica.number} ended with status {status}")

    def stop(self):
        self.is_stopping.set()
        if self.supervisor.is_alive():
            self.supervisor.join()
        for replica in self.all:
            if replica.process:
                replica.ended_by_harness.add(replica.process.pid)
                replica.process.terminate(15)
