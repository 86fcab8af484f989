"""A MariaDB Galera cluster of three nodes, with a replica of Tripgate on each.

A node that was killed recovers its position and gets the missing transactions from another node (IST). A node that
has lost its data gets a copy of everything (SST, by mariadb-backup). Without a majority of the nodes, a node refuses
all statements.
"""

import shutil
import subprocess
from pathlib import Path

from documents import read_block, replace
from processes import Process, StartError, find_program, give, is_running, kill, pause, run, unprivileged, wait_for

PASSWORD = "only-for-this-test"
PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
# The settings of a node that docs/operations.md does not contain. All nodes of the test run on one machine.
OWN_SETTINGS = """
datadir = {data}
tmpdir = {folder}
socket = {folder}/socket
pid_file = {folder}/pid
port = {port}
innodb_log_file_size = 48M
innodb_buffer_pool_size = 64M
wsrep_sst_receive_address = 127.0.0.1:{sst_port}
"""
# The account of the test itself.
ADMIN = "CREATE USER admin@'127.0.0.1' IDENTIFIED BY '{}';\nGRANT ALL PRIVILEGES ON *.* TO admin@'127.0.0.1';\n"


class Node:
    """A MariaDB server of the cluster."""

    def __init__(self, number, ports, folder):
        self.number, self.name = number, f"node{number + 1}"
        self.folder, self.logs = folder / self.name, folder
        self.folder.mkdir()
        give(self.folder)
        self.port, self.group_port, self.ist_port, self.sst_port = (ports.take() for _ in range(4))
        self.data, self.process = self.folder / "data", None

    def configure(self, members):
        provider = next((path for path in PROVIDERS if Path(path).exists()), None)
        if provider is None:
            raise StartError("the Galera library is not installed; on Debian: apt-get install galera-4")
        own = OWN_SETTINGS.format(data=self.data, folder=self.folder, port=self.port, sst_port=self.sst_port)
        group = self.group_port
        settings = replace(read_block("ini", "[mariadbd]"), {
            PROVIDERS[0]: provider,
            "gcomm://10.0.0.31,10.0.0.32,10.0.0.33": f"gcomm://{members}",
            "wsrep_node_name = node1": f"wsrep_node_name = {self.name}",
            "wsrep_node_address = 10.0.0.31": f"wsrep_node_address = 127.0.0.1:{group}",
            "change-me": PASSWORD,
            "gcache.size=1G": f"gcache.size=64M;base_port={group};gmcast.listen_addr=tcp://127.0.0.1:{group};"
                              f"ist.recv_addr=127.0.0.1:{self.ist_port}",
        })
        config = self.folder / "my.cnf"
        config.write_text(settings + own)
        give(config)
        self.config = f"--defaults-file={config}"

    def server(self, *options):
        program = find_program("mariadbd", "mariadb-server-core")
        return unprivileged([program, self.config, *options])

    def start(self, *options):
        """Starts the server, at the position that it recovers from its data, if there is data."""
        if not self.data.exists():
            self.data.mkdir()
            give(self.data)
        elif not options:
            options = (f"--wsrep-start-position={self.recovered_position()}",)
        self.process = Process(self.name, self.server(*options), self.logs)

    def recovered_position(self):
        done = subprocess.run(self.server("--wsrep-recover", "--log-error-verbosity=3"), capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        for line in done.stderr.splitlines():
            if "Recovered position:" in line:
                return line.rpartition("Recovered position:")[2].strip()
        raise StartError(f"{self.name} has no position: {done.stderr[-1000:]}")

    def roots(self):
        is_alive = self.process is not None and is_running(self.process.pid)
        return [self.process.pid] if is_alive else []

    def status(self):
        """Returns the size of the node's cluster, the state of the node and its readiness, or an empty list."""
        query = ("SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN "
                 "('WSREP_CLUSTER_SIZE', 'WSREP_LOCAL_STATE_COMMENT', 'WSREP_READY') ORDER BY VARIABLE_NAME")
        try:
            return self.run_sql(query, seconds=4).split()
        except StartError:
            return []

    def run_sql(self, statement, seconds=20):
        client = find_program("mariadb", "mariadb-client-core")
        return run([client, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}",
                    "--user=admin", f"--password={PASSWORD}", "--connect-timeout=2", "--batch",
                    "--skip-column-names", "--skip-ssl", "--execute", statement], seconds)

    def is_synced(self):
        return self.status() == ["3", "Synced", "ON"]


class GaleraCluster:
    """The cluster; `links[i]` is the port through which replica `i` reaches its node."""

    name = "galera"

    def __init__(self, folder, ports, replicas):
        self.folder = folder
        self.nodes = [Node(number, ports, folder) for number in range(replicas)]
        self.links = [node.port for node in self.nodes]
        members = ",".join(f"127.0.0.1:{node.group_port}" for node in self.nodes)
        for node in self.nodes:
            node.configure(members)

    def start(self):
        first = self.nodes[0]
        install = find_program("mariadb-install-db", "mariadb-server-core")
        run(unprivileged([install, "--no-defaults", f"--datadir={first.data}", "--skip-test-db",
                          "--auth-root-authentication-method=normal"]), 120)
        init = self.folder / "init.sql"
        statements = replace(read_block("sql", "CREATE USER sst"), {"change-me": PASSWORD})
        init.write_text(statements + ADMIN.format(PASSWORD))
        give(init)
        first.start("--wsrep-new-cluster", f"--init-file={init}")
        wait_for("the start of the first node", lambda: "Synced" in first.status(), 60, first.process)
        for node in self.nodes[1:]:
            # A node without data gets a copy of the data of the first node.
            node.start()
            wait_for(f"the start of {node.name}", lambda node=node: "Synced" in node.status(), 120, node.process)
        wait_for("the cluster", self.is_healthy, 30)

    def url(self, replica):
        return f"mysql://tripgate:{PASSWORD}@127.0.0.1:{self.links[replica]}/tripgate"

    def is_healthy(self):
        return all(node.is_synced() for node in self.nodes)

    def primary(self):
        """Returns None: every node accepts writes."""

    def more_faults(self):
        """Returns the names of the faults that only this engine has."""
        return ["lose_data", "lose_quorum"]

    def missing_faults(self):
        """Returns the faults of this engine that are not possible here, and the reason."""
        return {}

    def kill_node(self, number):
        kill(self.nodes[number].roots())

    def pause_node(self, number):
        return pause(self.nodes[number].roots())

    def restart_node(self, number):
        self.nodes[number].start()

    def remove_data(self, number):
        shutil.rmtree(self.nodes[number].data)

    def stop(self):
        for node in self.nodes:
            kill(node.roots())
