#!/usr/bin/env python3
"""Runs replicas of Tripgate on a database cluster, causes faults, and checks every response.

    tests/cluster/run.py BINARY --engine postgres --minutes 10
    tests/cluster/run.py BINARY --engine galera --minutes 10 --seed 7

`postgres`: Patroni, etcd, HAProxy and two PostgreSQL servers with synchronous replication, and three replicas. On
Debian it needs postgresql, patroni, etcd-server and haproxy. `galera`: three MariaDB servers with a replica each;
mariadb-server, mariadb-backup and galera-4. The configuration files are those of docs/operations.md. The seed chooses
the faults and the requests; the timing of the machine differs from run to run. As root, and with iptables, there are
two more faults: a cut of the network between a replica and the database, and a full disk.

The promises that are checked:

- Writes that were acknowledged are present in every later read, and at the end. Writes that the server reported as
  not done are absent. A write is unknown if the connection broke, the response did not come in time, or the response
  was 503 `outcome_unknown`.
- A version of a trip has one acknowledged write; versions never go backwards; the feed of changes has no gap.
- A refresh token has at most one successor, and a client that repeats a refresh stays logged in.
- A session that was ended is refused on every replica from one second after the response.
- Failed logins are counted on all replicas together.
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

REPLICAS = 3
# After the last fault, writes with an unknown outcome get the time to end: a statement waits up to 10 seconds.
SETTLE_SECS = 12
ENGINES = {"postgres": PostgresCluster, "galera": GaleraCluster}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="the server, for example target/release/tripgate")
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--minutes", type=float, default=10, help="the duration of the load")
    parser.add_argument("--seed", type=int, help="chooses the faults; by default a random number")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of all processes")
    return parser.parse_args()


def cause_faults(faults, seconds, chosen):
    """Causes faults, with pauses, until the time is over or the cluster does not recover."""
    deadline = time.monotonic() + seconds
    time.sleep(chosen.uniform(4, 8))
    while time.monotonic() < deadline:
        if not faults.run_one():
            break
        time.sleep(chosen.uniform(4, 8))


def test(options, folder, seed):
    """Starts the cluster, runs the load with faults, and checks the state at the end. Returns the journal."""
    chosen, ports, journal = random.Random(seed), Ports(), Journal()
    engine = ENGINES[options.engine](folder, ports, REPLICAS)
    replicas = Replicas(str(Path(options.binary).resolve()), ports, engine, folder, REPLICAS, journal)
    network = Network()
    if not network.is_available:
        say("without cuts of the network, which need root and iptables")
    try:
        say(f"starting the cluster, seed {seed}")
        engine.start()
        replicas.start()
        journal.begin = time.monotonic()
        load = Load(replicas.all, journal, seed)
        used = resource.getrusage(resource.RUSAGE_SELF)
        load.start()
        say("the load runs")
        cause_faults(Faults(engine, replicas, load, journal, network, chosen), options.minutes * 60, chosen)
        load.stop()
        journal.seconds = journal.now()
        now = resource.getrusage(resource.RUSAGE_SELF)
        journal.cpu = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / journal.seconds
        time.sleep(SETTLE_SECS)
        say("checking the state at the end")
        load.verify()
    finally:
        network.heal()
        replicas.stop()
        engine.stop()
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
