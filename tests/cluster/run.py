#!/usr/bin/env python3
"""Runs replicas of Tripgate on a database cluster, causes faults, and checks every response.

    tests/cluster/run.py BINARY --engine postgres --minutes 10
    tests/cluster/run.py BINARY --engine galera --minutes 10 --seed 7

`postgres`: Patroni, etcd, HAProxy and two PostgreSQL servers with synchronous replication, and three replicas. On
Debian it needs postgresql, patroni, etcd-server and haproxy. `galera`: three MariaDB servers with a replica each. It
needs mariadb-server, mariadb-backup and galera-4. The configuration files are those of docs/operations.md. The seed
chooses the faults and the requests; the timing of the machine differs from run to run. As root, and with iptables,
there are two more faults: a cut of the network between a replica and the database, and a full disk. With a C compiler,
there is also a fault that sets the clock of a replica wrong by an hour.

`--upgrade-to OTHER` names another version with the same schema: the replicas are replaced one after another. At the
end, `--migrate-to NEWER` replaces the replicas by a version with a newer schema. With `--stop-first`, all replicas
stop before this migration.

    tests/cluster/run.py BINARY --engine postgres --upgrade-to OTHER --migrate-to NEWER
    tests/cluster/run.py BINARY --engine galera --faults kill_replica,cut_network --seed 7

The promises that are checked:

- Writes that were acknowledged are present in every later read, and at the end. Writes that the server reported as
  not done are absent. The outcome of a write is unknown if the connection broke, the response did not come in time, or
  the response was 503 `outcome_unknown`.
- A version of a trip has at most one acknowledged write; versions never go backwards; the feed of changes has no gap.
- A refresh token has at most one successor, and a client that repeats a refresh stays logged in.
- A session that was ended is refused on every replica from one second after the response.
- Failed logins are counted on all replicas together.
- A replica whose clock is wrong, or whose version is older than the schema, is not ready, and the others report it. An
  access token is refused only if the clocks of the replicas that issued and read it differ.
- No status of 500 or more, other than 503 with a documented code; every response comes in time.

Everything listens on free ports of 127.0.0.1. The data is in a temporary folder that is removed at the end; `--logs`
copies the logs. The exit status is 1 if a promise was broken, 2 if the cluster did not start.
"""

import argparse
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

# Write no __pycache__ beside the scripts.
sys.dont_write_bytecode = True

from faults import Faults
from galera import GaleraCluster
from journal import Journal
from load import Load
from network import Network
from postgres import PostgresCluster
from processes import Ports, StartError, new_folder, say
from replicas import Replicas
from summary import print_summary
from upgrades import Front

REPLICAS = 3
# After the last fault, wait until writes with an unknown outcome have ended. The database rolls back a transaction that
# has waited 10 seconds for its next statement.
SETTLE_SECS = 12
PAUSE_SECS, SHORT_PAUSE_SECS = (4, 8), (2, 3)
ENGINES = {"postgres": PostgresCluster, "galera": GaleraCluster}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path, help="the server, for example target/release/tripgate")
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--minutes", type=float, default=10, help="the duration of the load")
    parser.add_argument("--seed", type=int, help="chooses the faults; by default a random number")
    parser.add_argument("--faults", type=lambda text: text.split(","), metavar="NAME,NAME",
                        help="causes these faults once, in this order, instead of --minutes")
    parser.add_argument("--upgrade-to", type=Path, metavar="BINARY", action="append", default=[],
                        help="another version with the same schema")
    parser.add_argument("--migrate-to", type=Path, metavar="BINARY", help="a version with a newer schema")
    parser.add_argument("--stop-first", action="store_true", help="stops all replicas before the migration")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of all processes")
    return parser.parse_args()


def cause_faults(faults, queue, options, chosen):
    """Causes faults, with pauses, until the time is over or the queue is empty, or the cluster does not recover."""
    deadline = time.monotonic() + options.minutes * 60
    pause = PAUSE_SECS if options.faults is None else SHORT_PAUSE_SECS
    time.sleep(chosen.uniform(*pause))
    while time.monotonic() < deadline if options.faults is None else queue:
        if not faults.run_one(queue.pop(0) if queue else None):
            return
        time.sleep(chosen.uniform(*pause))
    if options.migrate_to:
        faults.run_one(faults.migrating_upgrade, str(options.migrate_to.resolve()), options.stop_first)
        time.sleep(chosen.uniform(*PAUSE_SECS))


def run_load(cluster, replicas, network, front, options, journal, seed):
    """Runs the load with faults, and checks the state at the end."""
    chosen = random.Random(seed)
    load = Load(replicas.all, journal, seed, front)
    binaries = [str(path.resolve()) for path in [options.binary, *options.upgrade_to]]
    faults = Faults(cluster, replicas, load, journal, network, chosen, binaries, front)
    for name, reason in faults.missing.items():
        say(f"without {name}: {reason}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    queue = faults.named(options.faults or [])
    load.start()
    say("the load runs")
    cause_faults(faults, queue, options, chosen)
    load.stop()
    journal.seconds = journal.now()
    now = resource.getrusage(resource.RUSAGE_SELF)
    journal.cpu = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / journal.seconds
    time.sleep(SETTLE_SECS)
    say("checking the state at the end")
    load.verify()


def test(options, folder, seed):
    """Starts the cluster, and runs the load with faults. Returns the journal."""
    ports, journal = Ports(), Journal()
    cluster = ENGINES[options.engine](folder, ports, REPLICAS)
    replicas = Replicas(str(options.binary.resolve()), ports, cluster, folder, REPLICAS, journal)
    front = Front(folder, ports, replicas.all) if options.migrate_to else None
    network = Network()
    try:
        say(f"starting the cluster, seed {seed}")
        cluster.start()
        replicas.start()
        if front:
            front.start()
        journal.begin = time.monotonic()
        run_load(cluster, replicas, network, front, options, journal, seed)
    finally:
        network.heal()
        if front:
            front.stop()
        replicas.stop()
        cluster.stop()
    return journal


def main():
    # SIGTERM ends the run as SIGINT does: the processes of the cluster are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    folder = new_folder()
    try:
        journal = test(options, folder, seed)
    except StartError as error:
        print(f"the cluster did not start: {error}", file=sys.stderr)
        return 2
    finally:
        if options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            for log in folder.glob("*.log"):
                shutil.copy(log, options.logs)
        shutil.rmtree(folder, ignore_errors=True)
    print_summary(journal, options.engine, seed)
    return 1 if journal.violations else 0


if __name__ == "__main__":
    sys.exit(main())
