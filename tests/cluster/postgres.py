"""A PostgreSQL cluster with automatic failover: two nodes with Patroni, one etcd, one HAProxy.

Patroni elects the primary with a lease in etcd and replicates synchronously: a COMMIT is acknowledged when the
standby has stored it. Each replica of Tripgate has its own port of HAProxy, so that the network between one
replica and the primary can be cut. HAProxy sends connections to the node whose Patroni is the leader, and closes
the connections to a node that is not the leader any more.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from disks import Disk
from documents import read_block, replace
from processes import (Process, StartError, find_program, give, is_running, kill, pause, run, unprivileged,
                       wait_for)

PASSWORD = "only-for-this-test"
# The WAL must fit on the small disk of a node. A server that is killed must leave no files in /dev/shm.
OWN_PARAMETERS = {"max_wal_size": "192MB", "min_wal_size": "80MB", "wal_keep_size": "64MB",
                  "dynamic_shared_memory_type": "mmap"}


class Node:
    """A PostgreSQL server and its Patroni."""

    def __init__(self, number, ports, folder, etcd_port):
        self.name, self.folder = f"node{number}", folder
        self.port, self.rest_port = ports.take(), ports.take()
        self.data = folder / self.name / "data"
        # Look for the program first, so that its absence leaves no mounted disk.
        self.initdb = find_program("initdb", "postgresql")
        self.disk = Disk(folder / self.name)
        give_folder(self.disk.path)
        self.config = folder / f"{self.name}.yml"
        self.config.write_text(self.settings(number, etcd_port))
        give(self.config)
        self.config.chmod(0o600)
        self.patroni = None

    def settings(self, number, etcd_port):
        """Returns Patroni's file from docs/operations.md, with the addresses and folders of this node."""
        own, bin_folder = self.disk.path, Path(self.initdb).parent
        parameters = "".join(f"\n        {name}: {value}" for name, value in OWN_PARAMETERS.items())
        return replace(read_block("yaml", "scope: tripgate"), {
            "name: node1": f"name: node{number}",
            "10.0.0.11:8008": f"127.0.0.1:{self.rest_port}",
            "10.0.0.11:5432": f"127.0.0.1:{self.port}",
            "10.0.0.10:2379": f"127.0.0.1:{etcd_port}",
            "10.0.0.0/24": "127.0.0.1/32",
            "change-me": PASSWORD,
            "/var/lib/postgresql/15/tripgate": self.data,
            "/usr/lib/postgresql/15/bin": bin_folder,
            "max_connections: 150": f"max_connections: 150{parameters}",
            "  authentication:": f"  pgpass: {own}/pgpass\n"
                                 f"  parameters:\n    unix_socket_directories: {own}\n  authentication:",
        })

    def start(self):
        command = unprivileged([find_program("patroni", "patroni"), str(self.config)])
        self.patroni = Process(self.name, command, self.folder, {"LC_ALL": "C.UTF-8"})

    def roots(self):
        """Returns the root processes of this node: Patroni, and PostgreSQL, which does not stay a child of Patroni."""
        found = [self.patroni.pid] if self.patroni and not self.patroni.has_ended() else []
        try:
            postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
            if os.readlink(f"/proc/{postmaster}/cwd") == str(self.data):
                found.append(postmaster)
        except (OSError, ValueError, IndexError):
            pass
        return [pid for pid in found if is_running(pid)]

    def role(self):
        """Returns the role of this node in the view of its Patroni, or an empty string."""
        return self.status().get("role", "")

    def status(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/patroni", timeout=2) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except (OSError, ValueError):
            return {}

    def accepts_writes(self):
        """Asks the server itself, not Patroni, whether it accepts writes."""
        url = f"postgres://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres?connect_timeout=2"
        try:
            done = subprocess.run([find_program("psql", "postgresql"), "-XAtc", "SELECT pg_is_in_recovery()", url],
                                  capture_output=True, text=True, timeout=4, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return False
        return done.stdout.strip() == "f"


def give_folder(path):
    give(path)
    path.chmod(0o700)


class PostgresCluster:
    """The cluster; `links[i]` is the port through which replica `i` reaches the primary."""

    name = "postgres"

    def __init__(self, folder, ports, replicas):
        self.folder = folder
        self.links = [ports.take() for _ in range(replicas)]
        self.etcd_port, self.peer_port = ports.take(), ports.take()
        self.nodes = [Node(number, ports, folder, self.etcd_port) for number in (1, 2)]
        self.etcd = self.haproxy = None

    def start(self):
        self.start_etcd()
        self.nodes[0].start()
        wait_for("the start of the primary", lambda: self.nodes[0].role() == "master", 60, self.nodes[0].patroni)
        self.nodes[1].start()
        wait_for("the start of the standby", self.is_healthy, 90, self.nodes[1].patroni)
        self.start_haproxy()
        # HAProxy treats both nodes as the primary until its first health checks of the standby have failed.
        wait_for("the choice of the primary by HAProxy", self.is_primary_chosen, 20, self.haproxy)
        self.run_sql(f"CREATE ROLE tripgate LOGIN PASSWORD '{PASSWORD}'")
        self.run_sql("CREATE DATABASE tripgate OWNER tripgate")

    def is_primary_chosen(self):
        try:
            return all(self.run_sql("SELECT pg_is_in_recovery()") == "f" for _ in range(6))
        except StartError:
            return False

    def run_sql(self, statement):
        """Runs a statement as the superuser, through HAProxy. Returns the output."""
        url = f"postgres://postgres:{PASSWORD}@127.0.0.1:{self.links[0]}/postgres"
        return run([find_program("psql", "postgresql"), "-XAtqc", statement, url]).strip()

    def start_etcd(self):
        data, client = self.folder / "etcd", f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.peer_port}"
        data.mkdir()
        give_folder(data)
        self.etcd = Process("etcd", unprivileged([
            find_program("etcd", "etcd-server"), "--data-dir", str(data), "--name", "etcd1",
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"etcd1={peer}", "--log-level", "warn",
            "--enable-v2",
        ]), self.folder)

    def start_haproxy(self):
        nodes, config = self.nodes, self.folder / "haproxy.cfg"
        config.write_text(replace(read_block("cfg", "global"), {
            "bind 127.0.0.1:5000": "\n    ".join(f"bind 127.0.0.1:{port}" for port in self.links),
            "10.0.0.11:5432 check port 8008": f"127.0.0.1:{nodes[0].port} check port {nodes[0].rest_port}",
            "10.0.0.12:5432 check port 8008": f"127.0.0.1:{nodes[1].port} check port {nodes[1].rest_port}",
        }))
        command = unprivileged([find_program("haproxy", "haproxy"), "-db", "-f", str(config)])
        self.haproxy = Process("haproxy", command, self.folder)

    def url(self, replica):
        return f"postgres://tripgate:{PASSWORD}@127.0.0.1:{self.links[replica]}/tripgate"

    def is_healthy(self):
        """Returns whether one node is the primary, and the other one is its synchronous standby."""
        states = [node.status() for node in self.nodes]
        roles = sorted(state.get("role", "") for state in states)
        standby = [state for state in states if state.get("role") == "replica"]
        return roles == ["master", "replica"] and standby[0].get("sync_standby") is True

    def primary(self):
        """Returns the number of the node that is the primary, or None."""
        return next((number for number, node in enumerate(self.nodes) if node.role() == "master"), None)

    def kill_node(self, number):
        kill(self.nodes[number].roots())

    def more_faults(self):
        """Returns the names of the faults that only this engine has."""
        return ["kill_standby", "pause_standby", "kill_waiting_primary", "fill_disk"]

    def missing_faults(self):
        """Returns the faults of this engine that are not possible here, and the reason."""
        can_fill = all(node.disk.is_mounted for node in self.nodes)
        return {} if can_fill else {"fill_disk": "needs root, and the permission to mount a file system"}

    def pause_node(self, number):
        return pause(self.nodes[number].roots())

    def restart_node(self, number):
        """Starts a killed node. Patroni rewinds this node if the other node is the primary now."""
        self.nodes[number].start()

    def fill_disk(self, number):
        self.nodes[number].disk.fill()

    def use_disk(self):
        """Writes and switches the WAL, so that the server needs new files for the WAL."""
        message = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 100000)); SELECT pg_switch_wal()"
        for _ in range(12):
            try:
                self.run_sql(message)
            except StartError:
                return

    def stop(self):
        for node in self.nodes:
            kill(node.roots())
            node.disk.remove()
        for process in (self.haproxy, self.etcd):
            if process:
                process.kill()
