"""The faults, and the measurements around each: when writes succeed again."""

import threading
import time

from processes import say

PAUSE_NODE_SECS, CUT_SECS = 20, 15
RECOVERY_SECS = 150
POLL_SECS = 0.05


class Faults:
    """Chooses faults, causes them one after another, and waits until the cluster is whole again."""

    def __init__(self, engine, replicas, journal, chosen):
        self.engine, self.replicas, self.journal, self.random = engine, replicas, journal, chosen
        self.kinds = [self.kill_replica, self.rolling_restart, self.kill_node, self.pause_node]
        self.queue = []

    def next(self):
        """Returns a fault. All kinds occur once, in random order, before one occurs again."""
        if not self.queue:
            self.queue = self.random.sample(self.kinds, len(self.kinds))
        return self.queue.pop()

    def run_one(self):
        """Causes one fault, measures, and waits for the recovery. Returns whether the cluster recovered."""
        fault = self.next()
        record = {"fault": fault.__name__.replace("_", " "), "at": self.journal.now()}
        self.journal.faults.append(record)
        fault(record)
        record["writes"] = self.wait_for_writes(record)
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
        """Restarts the replicas one after another with SIGTERM; the next one when the last is ready."""
        record["target"] = "all replicas"
        for replica in self.replicas.all:
            starts = replica.starts
            is_clean = replica.restart()
            self.journal.expect("a replica stops at SIGTERM", is_clean, f"replica {replica.number}")
            is_ready = self.wait_until(lambda: replica.starts > starts and replica.is_ready(), 60)
            self.journal.expect("a replica starts again", is_ready, f"replica {replica.number}")
        record["since"] = self.journal.now()

    def kill_node(self, record):
        """Kills a node of the database, of PostgreSQL the primary, with SIGKILL. It rejoins later."""
        node = self.choose_node()
        record["target"] = self.engine.nodes[node].name
        with Promotion(self.engine, node, self.journal, record):
            self.engine.kill_node(node)
            record["since"] = self.journal.now()
            self.wait_for_writes(record)
        time.sleep(self.random.uniform(1, 8))
        self.engine.restart_node(node)

    def pause_node(self, record):
        """Stops a node for 20 seconds with SIGSTOP. Its connections stay open and nothing comes back."""
        node = self.choose_node()
        record["target"], record["since"] = self.engine.nodes[node].name, self.journal.now()
        with Promotion(self.engine, node, self.journal, record):
            stopped = self.engine.pause_node(node)
            time.sleep(PAUSE_NODE_SECS)
            self.engine.resume_node(node, stopped)
            self.wait_for_writes(record)

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

    def __exit__(self, *_):
        self.is_stopping.set()
        if self.is_watching:
            self.thread.join()

    def watch(self):
        while not self.is_stopping.wait(POLL_SECS):
            if any(node.accepts_writes() for node in self.others):
                self.record["promoted"] = self.journal.now()
                return


def describe(record):
    """Returns one line about a fault: its target, and the times until writes succeeded."""
    def seconds(value):
        return "never" if value is None else f"{value:.1f} s"
    times = [time for time in record["writes"].values() if time is not None]
    first = min(times, default=None)
    last = None if len(times) < len(record["writes"]) else max(times)
    text = (f"{record['fault']} ({record['target']}) at {record['at']:.0f} s: first write after {seconds(first)}, "
            f"on every replica after {seconds(last)}, longest time without a write {seconds(record['gap'])}")
    if "promoted" in record and first is not None:
        promoted = record["promoted"] - record["since"]
        text += f"; new primary after {seconds(promoted)}, first write {seconds(max(0, first - promoted))} later"
    return f"{text}; whole again after {seconds(record['whole'])}"
