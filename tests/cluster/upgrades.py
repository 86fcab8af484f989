"""Upgrades of the replicas, one after another, with a load balancer that requests `/health/ready`.

A version with the same schema runs beside the other one. A version with a newer schema migrates the database at its
start; the replicas of the older version are then not ready, and the load balancer takes them out.
"""

import socket
import time

from documents import read_block, replace
from processes import Process, find_program, give, unprivileged, wait_for

# A server compares itself with the others every 10 seconds. HAProxy checks every 2 seconds, and takes a server out at
# the third failure.
NOTICE_SECS, CHECK_SECS = 15, 10
MIXED_SECS = (3, 8)


class Front:
    """HAProxy in front of the replicas, as in docs/operations.md. A client uses it like a replica."""

    number, is_out, is_proxy = "HAProxy", False, True

    def __init__(self, folder, ports, replicas):
        self.folder, self.port, self.replicas = folder, ports.take(), replicas
        # HAProxy creates the socket as the user `nobody`, so this user owns the folder.
        self.socket = folder / "front" / "socket"
        self.socket.parent.mkdir()
        give(self.socket.parent)
        self.process, self.clock = None, self

    def shifts(self, since, until):
        """Returns the shifts of the clocks of all replicas, like `Clock.shifts` of one clock."""
        return set().union(*(replica.clock.shifts(since, until) for replica in self.replicas))

    def start(self):
        servers = "\n    ".join(f"server replica{replica.number} 127.0.0.1:{replica.port} check"
                                for replica in self.replicas)
        config = self.folder / "front.cfg"
        config.write_text(f"global\n    stats socket {self.socket}\n\n" + replace(
            read_block("haproxy", "set-header X-Forwarded-For"), {
                "bind :443 ssl crt /etc/haproxy/trips.example.pem alpn h2,http/1.1": f"bind 127.0.0.1:{self.port}",
                "server replica1 127.0.0.1:8080 check": servers,
            }))
        command = unprivileged([find_program("haproxy", "haproxy"), "-db", "-f", str(config)])
        self.process = Process("front", command, self.folder)
        wait_for("the start of the load balancer", lambda: self.socket.exists(), 20, self.process)

    def status(self, replica):
        """Returns `UP` if HAProxy sends requests to the replica, and `DOWN` if it sends none."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(b"show stat\n")
            lines = connection.makefile().read().splitlines()
        names = lines[0].lstrip("# ").split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:]]
        return next(row["status"].split()[0] for row in rows if row.get("svname") == f"replica{replica.number}")

    def stop(self):
        if self.process:
            self.process.kill()


class Upgrades:
    """The versions, and the replacement of one by another."""

    def __init__(self, replicas, journal, binaries, front, wait_until, chosen):
        self.replicas, self.journal, self.random = replicas, journal, chosen
        self.wait_until, self.binaries, self.front = wait_until, binaries, front

    def restart(self, replica, binary=None):
        """Restarts a replica with SIGTERM, perhaps with another version, and waits until it is ready."""
        starts, replica.binary = replica.starts, binary or replica.binary
        is_clean = replica.restart()
        self.journal.expect("a replica stops at SIGTERM", is_clean, f"replica {replica.number}")
        is_ready = self.wait_until(lambda: replica.starts > starts and replica.is_ready(), 60)
        self.journal.expect("a replica starts again", is_ready, f"replica {replica.number}")

    def roll(self, record):
        """Replaces the replicas one after another by another version with the same schema."""
        first = self.replicas[0]
        old, binary = first.version(), self.random.choice([one for one in self.binaries if one != first.binary])
        for number, replica in enumerate(self.random.sample(self.replicas, len(self.replicas))):
            self.restart(replica, binary)
            if number == 0:
                self.expect_report(self.replicas, "version")
            time.sleep(self.random.uniform(*MIXED_SECS))
            are_ready = all(one.is_ready() for one in self.replicas)
            self.journal.expect("servers of two versions with one schema are ready", are_ready, f"after {record}")
        record["target"] = f"version {old} to {first.version()}"

    def expect_report(self, replicas, kind):
        """Checks that each of the replicas reports a difference to another server within 30 seconds."""
        for replica in replicas:
            is_reported = self.wait_until(lambda replica=replica: replica.reports(kind), 2 * NOTICE_SECS)
            self.journal.expect("servers that differ are reported", is_reported, f"{kind}, replica {replica.number}")

    def migrate(self, record, binary, stops_first):
        """Replaces all replicas by a version with a newer schema."""
        old, first, others = self.replicas[0].version(), self.replicas[0], self.replicas[1:]
        if stops_first:
            for replica in self.replicas:
                replica.is_held = True
                self.journal.expect("a replica stops at SIGTERM", replica.restart(), f"replica {replica.number}")
            for replica in self.replicas:
                replica.binary, replica.is_held = binary, False
            is_whole = self.wait_until(lambda: all(replica.is_ready() for replica in self.replicas), 60)
            self.journal.expect("a replica starts again", is_whole, "after the migration")
        else:
            self.restart(first, binary)
            self.take_out(others)
            time.sleep(self.random.uniform(*MIXED_SECS))
            for replica in others:
                self.restart(replica, binary)
                is_in = self.wait_until(lambda replica=replica: self.front.status(replica) == "UP", CHECK_SECS)
                self.journal.expect("the load balancer uses a replica that is ready", is_in,
                                    f"replica {replica.number}")
                replica.is_out = False
        record["target"] = f"version {old} to {first.version()}"

    def take_out(self, replicas):
        """Waits until the replicas of the older version are not ready and the load balancer takes them out."""
        for replica in replicas:
            is_known = self.wait_until(lambda replica=replica: replica.readiness() == "newer_schema", NOTICE_SECS)
            self.journal.expect("a server of an older version is not ready after a migration", is_known,
                                f"replica {replica.number}: {replica.readiness()}")
        for replica in replicas:
            is_out = self.wait_until(lambda replica=replica: self.front.status(replica) == "DOWN", CHECK_SECS)
            self.journal.expect("the load balancer takes out a replica that is not ready", is_out,
                                f"replica {replica.number}")
            # From now on, the clients of this test send no requests to this replica either.
            replica.is_out = True
