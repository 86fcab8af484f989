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

from processes import (Process, StartError, find_program, give, is_running, kill, pause, resume, run, unprivileged,
                       wait_for)

PASSWORD = "only-for-this-test"
# How long the lease of the primary lasts, and how often it is renewed, in seconds.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 5, 5
HAPROXY = """
global
    maxconn 2000

defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s

listen primary
{binds}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


class Node:
    """A PostgreSQL server and its Patroni."""

    def __init__(self, number, ports, folder, etcd_port):
        self.name, self.folder = f"node{number}", folder
        self.port, self.rest_port = ports.take(), ports.take()
        self.data = folder / self.name / "data"
        give_folder(folder / self.name)
        self.config = folder / f"{self.name}.yml"
        # JSON is a subset of YAML.
        self.config.write_text(json.dumps(self.settings(etcd_port), indent=1))
        give(self.config)
        self.config.chmod(0o600)
        self.patroni = None

    def settings(self, etcd_port):
        bin_folder = str(Path(find_program("initdb", "postgresql")).parent)
        access = ["local all all scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256",
                  "host replication replicator 127.0.0.1/32 scram-sha-256"]
        return {
            "scope": "tripgate",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest_port}", "connect_address": f"127.0.0.1:{self.rest_port}"},
            "etcd3": {"host": f"127.0.0.1:{etcd_port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": RETRY_TIMEOUT,
                    "synchronous_mode": True,
                    # After a crash of the primary, fail over instead of waiting for its restart.
                    "primary_start_timeout": 0,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 150}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data), "bin_dir": bin_folder,
                "pgpass": str(self.data.parent / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": PASSWORD},
                    "replication": {"username": "replicator", "password": PASSWORD},
                    "rewind": {"username": "rewinder", "password": PASSWORD},
                },
                "parameters": {"unix_socket_directories": str(self.data.parent)},
                "pg_hba": access,
            },
        }

    def start(self):
        command = unprivileged([find_program("patroni", "patroni"), str(self.config)])
        self.patroni = Process(self.name, command, self.folder, {"LC_ALL": "C.UTF-8"})

    def roots(self):
        """Returns the processes whose descendants are this node. Patroni does not stay the parent of PostgreSQL."""
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
    path.mkdir()
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
        # HAProxy takes both nodes for the primary until the first checks have failed.
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
        give_folder(data)
        self.etcd = Process("etcd", unprivileged([
            find_program("etcd", "etcd-server"), "--data-dir", str(data), "--name", "etcd1",
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"etcd1={peer}", "--log-level", "warn",
        ]), self.folder)

    def start_haproxy(self):
        binds = "\n".join(f"    bind 127.0.0.1:{port}" for port in self.links)
        servers = "\n".join(f"    server {node.name} 127.0.0.1:{node.port} check port {node.rest_port}"
                            for node in self.nodes)
        config = self.folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(binds=binds, servers=servers))
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

    def pause_node(self, number):
        return pause(self.nodes[number].roots())

    def resume_node(self, _number, pids):
        resume(pids)

    def restart_node(self, number):
        """Starts a killed node. Patroni rewinds it if the other node is the primary now."""
        self.nodes[number].start()

    def affected_replicas(self, _number):
        """Returns the replicas that depend on this node: all of them, if it is the primary."""
        return list(range(len(self.links)))

    def stop(self):
        for node in self.nodes:
            kill(node.roots())
        for process in (self.haproxy, self.etcd):
            if process:
                process.kill()
