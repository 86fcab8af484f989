"""The replicas of Tripgate. A supervisor restarts each one that ends, as systemd does."""

import http.client
import threading

from processes import Process, wait_for

PAUSE_BEFORE_RESTART_SECS = 1
SETTINGS = {
    "TRIPGATE_BCRYPT_COST": "4",
    "TRIPGATE_ACCESS_TTL_SECS": "300",
    "TRIPGATE_LOG": "info,tripgate::access=warn",
}


class Replica:
    """One server process, its port, and what has happened to it."""

    def __init__(self, number, binary, port, public_url, database_url, folder):
        self.number, self.binary, self.port, self.folder = number, binary, port, folder
        own = folder / f"replica{number}"
        own.mkdir()
        self.environment = SETTINGS | {
            "TRIPGATE_LISTEN": f"127.0.0.1:{port}",
            "TRIPGATE_PUBLIC_URL": public_url,
            "TRIPGATE_DATABASE_URL": database_url,
            "TRIPGATE_DATA_DIR": str(own),
            "TRIPGATE_SECRET_FILE": str(folder / "secret"),
        }
        self.process, self.wanted, self.starts = None, False, 0
        # The processes that the harness has ended itself. Another process that ends has crashed.
        self.ended_by_harness = set()

    def start(self):
        self.process = Process(f"replica{self.number}", [self.binary, "serve"], self.folder, self.environment)
        self.starts += 1

    def kill(self):
        self.ended_by_harness.add(self.process.pid)
        self.process.kill()

    def restart(self):
        """Ends the process with SIGTERM; the supervisor starts another. Returns whether it ended in time."""
        self.ended_by_harness.add(self.process.pid)
        return self.process.terminate()

    def readiness(self):
        """Returns the status of `/health/ready`, or 0 if there is no response."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3)
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            response.read()
            connection.close()
            return response.status
        except (OSError, http.client.HTTPException):
            return 0

    def is_ready(self):
        return self.readiness() == 200


class Replicas:
    """All replicas, with one secret and one public URL."""

    def __init__(self, binary, ports, engine, folder, count, journal):
        taken = [ports.take() for _ in range(count)]
        url = f"http://127.0.0.1:{taken[0]}"
        (folder / "secret").write_text("0123456789abcdef" * 4 + "\n")
        (folder / "secret").chmod(0o600)
        self.journal = journal
        self.all = [Replica(number, binary, port, url, engine.url(number), folder)
                    for number, port in enumerate(taken)]
        self.is_stopping = threading.Event()
        self.supervisor = threading.Thread(target=self.supervise, daemon=True)

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
                if replica.process.has_ended():
                    self.note_end(replica)
                    if self.is_stopping.wait(PAUSE_BEFORE_RESTART_SECS):
                        return
                    replica.start()

    def note_end(self, replica):
        """Reports the end of a process that the harness did not end. A start may fail without a database."""
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
