"""The mixed load, the probes that measure the recovery, and the checks after the last fault."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from client import NOT_DONE, UNKNOWN, Client, version_7
from sessions import Account, EndedSessions
from trips import FeedModel
from users import SharedState, User

USERS, PAIRS = 8, 3
PAUSE_SECS = 0.25
PROBE_PAUSE_SECS, PROBE_TIMEOUT_SECS = 0.15, 2


class Probe:
    """Writes to one replica all the time, so that the journal has the time of its first write after a fault.

    Only one thread writes to the trip of the probe, so the versions of its acknowledged writes must rise.
    """

    def __init__(self, replicas, target, number, journal, seed):
        """Creates a probe that writes to `replicas[target]`. `number` is the number of the probe."""
        self.target, self.number, self.journal = target, number, journal
        self.client = Client(replicas, journal, f"127.0.3.{number + 1}", seed, PROBE_TIMEOUT_SECS)
        self.account = Account(f"probe{number}-{seed}", self.client, journal)
        self.session, self.trip, self.version, self.written = None, None, 0, 0
        self.operation = "probe through HAProxy" if replicas[target].is_proxy else "probe"

    def run(self, is_stopping):
        while not is_stopping.wait(PROBE_PAUSE_SECS):
            if self.session is None or self.session.is_ended:
                self.session = self.account.begin_session()
            token = self.session and self.session.token()
            if not token:
                continue
            if self.trip is None:
                trip = version_7()
                reply = self.client.call(self.operation, "POST", "/trips", {"id": trip, "title": "0"}, token)
                self.trip = trip if reply.is_done else None
                continue
            self.written += 1
            reply = self.client.call(self.operation, "PATCH", f"/trips/{self.trip}", {"title": str(self.written)},
                                     token, replica=self.target)
            if reply.is_done:
                version = reply.body["version"]
                self.journal.expect("versions do not go backwards", version > self.version,
                                    f"probe {self.number}: {version} after {self.version}")
                self.version = version


class Load:
    """All threads of clients."""

    def __init__(self, replicas, journal, seed, front=None):
        chosen = random.Random(seed)
        self.journal, self.replicas = journal, replicas
        self.ended = EndedSessions(replicas, journal)
        self.states, self.users = [], []
        for number in range(USERS + PAIRS):
            is_pair = number >= USERS
            address = f"127.0.2.{number + 1}"
            client = Client(replicas, journal, address, chosen.random())
            account = Account(f"user{number}-{seed}", client, journal)
            state = SharedState(account)
            state.is_contended = is_pair
            self.states.append(state)
            for _ in range(2 if is_pair else 1):
                own = Client(replicas, journal, address, chosen.random())
                self.users.append(User(state, own, journal, self.ended))
        self.probes = [Probe(replicas, number, number, journal, seed) for number in range(len(replicas))]
        if front:
            self.probes.append(Probe([front], 0, len(replicas), journal, seed))
        self.is_stopping, self.threads = threading.Event(), []

    def allow_full_disk(self):
        """Makes all clients accept 507 from now on."""
        for user in self.users:
            user.client.allows_full_disk = user.account.client.allows_full_disk = True
        for probe in self.probes:
            probe.client.allows_full_disk = True

    def start(self):
        self.ended.thread.start()
        runs = [(user.run, (self.is_stopping, PAUSE_SECS)) for user in self.users]
        runs += [(probe.run, (self.is_stopping,)) for probe in self.probes]
        for function, arguments in runs:
            thread = threading.Thread(target=self.guarded, args=(function, *arguments), daemon=True)
            thread.start()
            self.threads.append(thread)

    def guarded(self, function, *arguments):
        """Runs a function in this thread. Records an exception as a violation, so that no thread ends silently."""
        try:
            function(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            self.journal.violation(f"a client failed: {type(error).__name__}: {error}")
            raise

    def stop(self):
        self.is_stopping.set()
        for thread in self.threads:
            thread.join(60)
            if thread.is_alive():
                self.journal.violation(f"the client {thread.name} did not end within 60 s")
        self.ended.stop()

    # --- after the last fault

    def verify(self):
        """Compares what the cluster stores with what was acknowledged, through every replica."""
        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(self.verify_user, self.users):
                pass
            for _ in pool.map(lambda session: self.ended.check(session, is_final=True), self.ended.all):
                pass

    def retry(self, function, *arguments):
        """Repeats a request until its outcome is known: the cluster is healthy now."""
        for _ in range(5):
            reply = function(*arguments)
            if reply is not None and getattr(reply, "outcome", None) not in (NOT_DONE, UNKNOWN):
                return reply
            time.sleep(1)
        self.journal.violation("the cluster does not respond after the last fault")
        return None

    def verify_user(self, user):
        for session in filter(None, user.sessions):
            # The refresh token of every session that was not ended must be valid.
            self.retry(session.exchange, session.refresh_token)
        session = self.retry(user.account.begin_session)
        if session is None:
            return
        for trip in list(user.state.trips.values()):
            self.verify_trip(user, trip, session.access)
        for device in range(len(user.feeds)):
            user.pull(device, session.access)
        user.feeds[0] = FeedModel(self.journal)
        user.pull(0, session.access)
        for account in user.accounts:
            self.retry(account.log_in)

    def verify_trip(self, user, trip, token):
        for replica in range(len(self.replicas)):
            before = trip.snapshot()
            reply = self.retry(lambda replica=replica: user.client.call(
                "verify trip", "GET", f"/trips/{trip.id}", token=token, replica=replica))
            if reply is None:
                return
            is_present = reply.is_done
            if is_present:
                trip.check("final read", before, reply.body["version"], reply.body.get("notes", ""), reply.etag)
            must_exist = trip.creation == "acknowledged" and not trip.deletion
            may_exist = (trip.creation in ("acknowledged", "unknown")) and trip.deletion != "acknowledged"
            self.journal.expect("acknowledged trips are present at the end", is_present or not must_exist,
                                lambda: f"trip {trip.id}: {reply}")
            self.journal.expect("trips that were not created, or were deleted, are absent at the end",
                                may_exist or not is_present, lambda: f"trip {trip.id}: {reply}")
