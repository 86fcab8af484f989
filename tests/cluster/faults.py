"""The faults, and the measurement of each: how long it takes until writes succeed again."""

import threading
import time

from network import DIRECTIONS
from processes import StartError, resume, say
from upgrades import NOTICE_SECS, Upgrades

# The lease of the PostgreSQL primary lasts 20 seconds, so a pause of 35 seconds always causes a failover.
PAUSE_NODE_SECS, CUT_SECS, FULL_DISK_SECS = (20, 35), 15, 12
WRONG_CLOCK_SECS, WRONG_CLOCK_PAUSE_SECS = 3600, 8
RECOVERY_SECS = 150
# The faults of both engines.
COMMON = ["kill_replica", "rolling_restart", "rolling_upgrade", "wrong_clock", "cut_network", "kill_node", "pause_node"]
POLL_SECS = 0.05


class Faults:
    """Chooses faults, causes them one after another, and waits until the cluster is whole again."""

    def __init__(self, engine, replicas, load, journal, network, chosen, binaries, front):
        self.engine, self.replicas, self.load, self.journal = engine, replicas, load, journal
        self.network, self.random, self.queue = network, chosen, []
        self.upgrades = Upgrades(replicas.all, journal, binaries, front, self.wait_until, chosen)
        # The faults that are not possible here, and the reason.
        self.missing = engine.missing_faults() | network.missing_faults() | replicas.missing_faults()
        if len(binaries) < 2:
            self.missing["rolling_upgrade"] = "needs --upgrade-to"
        names = [*COMMON, *engine.more_faults()]
        self.kinds = {name: getattr(self, name) for name in names if name not in self.missing}

    def named(self, names):
        """Returns the faults with these names, without those that are not possible here."""
        known = [*self.kinds, *self.missing]
        if unknown := [name for name in names if name not in known]:
            raise StartError(f"unknown faults: {', '.join(unknown)}; the known faults are {', '.join(known)}")
        return [self.kinds[name] for name in names if name in self.kinds]

    def next(self):
        """Returns a fault. All kinds occur once, in random order, before one occurs again."""
        if not self.queue:
            self.queue = self.random.sample(list(self.kinds.values()), len(self.kinds))
        return self.queue.pop()

    def run_one(self, fault=None, *arguments):
        """Causes one fault, measures its effect, and waits for the recovery. Returns whether the cluster recovered."""
        fault = fault or self.next()
        record = {"fault": fault.__name__.replace("_", " "), "at": self.journal.now()}
        self.journal.faults.append(record)
        fault(record, *arguments)
        record["writes"] = self.wait_for_writes(record)
        self.journal.expect("every replica writes again after a fault", None not in record["writes"].values(),
                            lambda: f"after {record}")
        record["gap"] = self.journal.longest_gap(record["at"], self.journal.now())
        is_whole = self.wait_until(self.is_whole, RECOVERY_SECS)
        record["whole"] = self.journal.now() - record["at"] if is_whole else None
        self.journal.expect("the cluster recovers from a fault", is_whole, lambda: f"after {record}")
        say(describe(record))
        return is_whole

    def is_whole(self):
        return self.engine.is_healthy() and all(replica.is_ready() for replica in self.replicas.all)

    @staticmethod
    def wait_until(condition, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(POLL_SECS)
        return False

    def wait_for_writes(self, record):
        """Waits until every replica has acknowledged a write that began after the fault. Returns the times."""
        since, replicas = record["since"], range(len(self.replicas.all))
        self.wait_until(lambda: all(self.journal.first_write(since, replica) for replica in replicas), RECOVERY_SECS)
        times = {}
        for replica in replicas:
            first = self.journal.first_write(since, replica)
            times[replica] = first and first - since
        return times

    # --- faults

    def kill_replica(self, record):
        """Kills one replica with SIGKILL; the supervisor starts it again."""
        replica = self.random.choice(self.replicas.all)
        record["target"], record["since"] = f"replica {replica.number}", self.journal.now()
        replica.kill()

    def rolling_restart(self, record):
        """Restarts the replicas one after another with SIGTERM. Each must be ready before the next one stops."""
        record["target"] = "all replicas"
        for replica in self.replicas.all:
            self.upgrades.restart(replica)
        record["since"] = self.journal.now()

    def rolling_upgrade(self, record):
        """Replaces the replicas one after another by another version with the same schema."""
        self.upgrades.roll(record)
        record["since"] = self.journal.now()

    def migrating_upgrade(self, record, binary, stops_first):
        """Replaces the replicas by a version with a newer schema."""
        self.upgrades.migrate(record, binary, stops_first)
        record["since"] = self.journal.now()

    def wrong_clock(self, record):
        """Sets the clock of one replica an hour forward or back, in half of the cases with a restart.

        Clients continue to use the replica: a load balancer needs seconds to take it out.
        """
        replica, shift = self.random.choice(self.replicas.all), self.random.choice([-1, 1]) * WRONG_CLOCK_SECS
        restarts = self.random.random() < 0.5
        record["target"] = f"replica {replica.number}, {shift:+} s" + ", with a restart" * restarts
        starts = replica.starts
        replica.clock.set(shift)
        try:
            if restarts:
                self.journal.expect("a replica stops at SIGTERM", replica.restart(), record["target"])
                self.wait_until(lambda: replica.starts > starts and replica.readiness(), 60)
            is_known = self.wait_until(lambda: replica.readiness() == "wrong_clock", NOTICE_SECS)
            self.journal.expect("a replica with a wrong clock is not ready", is_known, lambda: replica.readiness())
            self.upgrades.expect_report(self.replicas.all, "clock")
            others = [other.readiness() for other in self.replicas.all if other is not replica]
            self.journal.expect("the other replicas stay ready", set(others) == {"ready"}, f"{others}")
            time.sleep(WRONG_CLOCK_PAUSE_SECS)
        finally:
            replica.clock.set(0)
        record["since"] = self.journal.now()

    def kill_node(self, record):
        """Kills a node of the database with SIGKILL: the primary of PostgreSQL, or any node of Galera. The node
        rejoins later."""
        node = self.choose_node()
        record["target"] = self.engine.nodes[node].name
        with Promotion(self.engine, node, self.journal, record) as promotion:
            self.engine.kill_node(node)
            record["since"] = self.journal.now()
            # On a cluster with a primary, all replicas must be able to write before the node is back.
            if promotion.is_watching:
                self.wait_for_writes(record)
        time.sleep(self.random.uniform(1, 8))
        self.engine.restart_node(node)

    def pause_node(self, record):
        """Stops a node with SIGSTOP. The connections to the node stay open, but the node does not respond."""
        node, seconds = self.choose_node(), self.random.choice(PAUSE_NODE_SECS)
        record["target"], record["since"] = f"{self.engine.nodes[node].name} for {seconds} s", self.journal.now()
        with Promotion(self.engine, node, self.journal, record):
            stopped = self.engine.pause_node(node)
            time.sleep(seconds)
            resume(stopped)
            self.wait_for_writes(record)

    def kill_standby(self, record):
        """Kills the standby. Writes are delayed until the primary stops waiting for the standby."""
        node = 1 - self.choose_node()
        record["target"] = self.engine.nodes[node].name
        self.engine.kill_node(node)
        record["since"] = self.journal.now()
        self.wait_for_writes(record)
        time.sleep(self.random.uniform(1, 8))
        self.engine.restart_node(node)

    def pause_standby(self, record):
        """Stops the standby with SIGSTOP. Every COMMIT waits for the standby, so outcomes become unknown."""
        node = 1 - self.choose_node()
        record["target"], record["since"] = f"{self.engine.nodes[node].name}, 10 s", self.journal.now()
        stopped = self.engine.pause_node(node)
        time.sleep(10)
        resume(stopped)

    def kill_waiting_primary(self, record):
        """Kills the primary while every COMMIT waits for the standby, which then takes over without those writes."""
        primary = self.choose_node()
        standby = 1 - primary
        record["target"] = self.engine.nodes[primary].name
        stopped = self.engine.pause_node(standby)
        with Promotion(self.engine, primary, self.journal, record):
            time.sleep(self.random.uniform(2, 8))
            self.engine.kill_node(primary)
            record["since"] = self.journal.now()
            resume(stopped)
            self.wait_for_writes(record)
        self.engine.restart_node(primary)

    def lose_data(self, record):
        """Kills a node and deletes its data. The node rejoins with a copy of the data of another node (SST)."""
        node = self.choose_node()
        record["target"] = self.engine.nodes[node].name
        self.engine.kill_node(node)
        record["since"] = self.journal.now()
        self.engine.remove_data(node)
        time.sleep(self.random.uniform(1, 8))
        self.engine.restart_node(node)

    def lose_quorum(self, record):
        """Kills all nodes but one at the same time. The last one refuses all statements until the others rejoin."""
        nodes = self.random.sample(range(len(self.engine.nodes)), len(self.engine.nodes) - 1)
        record["target"] = " and ".join(self.engine.nodes[node].name for node in nodes)
        record["since"] = self.journal.now()
        for node in nodes:
            self.engine.kill_node(node)
        time.sleep(self.random.uniform(8, 12))
        for node in nodes:
            self.engine.restart_node(node)

    def fill_disk(self, record):
        """Fills the disk of the primary. Then makes the primary write WAL, so that it crashes for lack of space."""
        node = self.choose_node()
        record["target"], record["since"] = self.engine.nodes[node].name, self.journal.now()
        self.load.allow_full_disk()
        with Promotion(self.engine, node, self.journal, record):
            self.engine.fill_disk(node)
            time.sleep(FULL_DISK_SECS / 2)
            self.engine.use_disk()
            record["since"] = self.journal.now()
            time.sleep(FULL_DISK_SECS / 2)
            self.engine.nodes[node].disk.free()
            self.wait_for_writes(record)

    def cut_network(self, record):
        """Drops the packets between one replica and the database for 15 seconds."""
        replica, direction = self.random.randrange(len(self.engine.links)), self.random.choice(list(DIRECTIONS))
        record["target"] = f"replica {replica}, {direction}"
        self.network.cut(self.engine.links[replica], direction)
        try:
            time.sleep(CUT_SECS)
        finally:
            self.network.heal()
        record["since"] = self.journal.now()

    def choose_node(self):
        primary = self.engine.primary()
        return self.random.randrange(len(self.engine.nodes)) if primary is None else primary


class Promotion:
    """Watches the other nodes of a cluster with a primary, and records when one of them accepts writes."""

    def __init__(self, engine, lost, journal, record):
        self.others = [node for number, node in enumerate(engine.nodes) if number != lost]
        self.is_watching = engine.primary() is not None
        self.journal, self.record = journal, record
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        if self.is_watching:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopping.set()
        if self.is_watching:
            self.thread.join()

    def watch(self):
        while not self.is_stopping.wait(POLL_SECS):
            if any(node.accepts_writes() for node in self.others):
                self.record["promoted"] = self.journal.now()
                return


def first_after_promotion(record):
    """Returns the time from the moment the new primary accepts writes to the first write, or None."""
    first = first_write(record)
    if "promoted" not in record or first is None:
        return None
    return max(0, record["since"] + first - record["promoted"])


def first_write(record):
    return min((time for time in record["writes"].values() if time is not None), default=None)


def describe(record):
    """Returns one line about a fault: its target, and the times until writes succeeded."""
    def seconds(value):
        return "never" if value is None else f"{value:.1f} s"
    times = list(record["writes"].values())
    last = None if None in times else max(times)
    text = (f"{record['fault']} ({record['target']}) at {record['at']:.0f} s: first write after "
            f"{seconds(first_write(record))}, on every replica after {seconds(last)}, longest time without a write "
            f"{seconds(record['gap'])}")
    if (later := first_after_promotion(record)) is not None:
        promoted = record["promoted"] - record["since"]
        text += f"; new primary after {seconds(promoted)}, first write {seconds(later)} later"
    return f"{text}; whole again after {seconds(record['whole'])}"
