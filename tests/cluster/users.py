"""The users of the mixed load. Each user is one thread with two devices; pairs of users share an account."""

import threading
import time

from client import NOT_DONE, UNKNOWN, version_7
from sessions import Account
from trips import FeedModel, TripModel

TRIPS_OF_A_USER = 6
ATTEMPTS = 12
FREE_FAILURES = 10


class SharedState:
    """The trips of one account, which the threads of the account use together."""

    def __init__(self, account):
        self.account, self.lock = account, threading.Lock()
        self.trips, self.tags = {}, 0
        # Whether several threads use the account.
        self.is_contended = False

    def new_tag(self):
        with self.lock:
            self.tags += 1
            return f"t{self.tags}"

    def add(self, trip):
        with self.lock:
            self.trips[trip.id] = trip

    def live(self):
        """Returns the trips that exist for certain and that no device has tried to delete."""
        with self.lock:
            return [trip for trip in self.trips.values() if trip.creation == "acknowledged" and not trip.deletion]


class User:
    """One thread of requests: two sessions, two cursors of the feed, and the trips of the account."""

    def __init__(self, state, client, journal, ended):
        self.state, self.client, self.journal, self.ended = state, client, journal, ended
        self.random, self.account = client.random, state.account
        self.sessions, self.feeds = [None, None], [FeedModel(journal), FeedModel(journal)]
        self.accounts = []
        self.operations = [
            (self.append, 30), (self.read, 16), (self.create, 6), (self.push, 12), (self.pull, 14), (self.delete, 3),
            (self.share, 4), (self.refresh, 9), (self.end_session, 3), (self.sign_up_another, 2),
            (self.guess_passwords, 1),
        ]

    def run(self, is_stopping, pause_secs):
        functions, weights = zip(*self.operations)
        while not is_stopping.wait(self.random.uniform(0.5, 1.5) * pause_secs):
            device = self.random.randrange(2)
            if self.sessions[device] is None or self.sessions[device].is_ended:
                self.sessions[device] = self.account.begin_session()
                continue
            if token := self.sessions[device].token():
                self.random.choices(functions, weights)[0](device, token)

    def some_trip(self):
        live = self.state.live()
        return self.random.choice(live) if live else None

    # --- trips

    def create(self, _device, token):
        """Creates a trip with an idempotency key, and repeats the request while its outcome is unknown."""
        if len(self.state.live()) >= TRIPS_OF_A_USER:
            return
        trip, tag, key = TripModel(version_7(), self.journal), self.state.new_tag(), version_7()
        trip.sending(tag)
        self.state.add(trip)
        body = {"id": trip.id, "title": "trip", "notes": tag}
        for _ in range(self.random.randint(1, 3)):
            reply = self.client.call("create trip", "POST", "/trips", body, token, {"Idempotency-Key": key})
            if reply.is_done:
                trip.creation = "acknowledged"
                trip.was_written(tag, reply.body["version"], reply.etag, tag)
                return
            if reply.outcome == UNKNOWN or reply.status == 409 and trip.creation == "unknown":
                # 409 idempotency_in_progress: the first request still runs.
                trip.creation = "unknown"
                trip.may_be_written(tag)
            elif trip.creation != "unknown":
                trip.was_not_written(tag)
                return
            time.sleep(0.3)

    def append(self, _device, token):
        """Appends a tag to the notes of a trip, if the trip has the version that this client knows."""
        trip = self.some_trip()
        if trip is None or trip.is_full:
            return
        with trip.lock:
            before, etag, notes = set(trip.acknowledged), trip.etag, trip.notes
            version = trip.version
        if not etag:
            self.read_trip(trip, token)
            return
        tag = self.state.new_tag()
        trip.sending(tag)
        method = self.random.choice(["PATCH", "PUT"])
        body = {"title": "trip", "notes": f"{notes} {tag}"}
        reply = self.client.call("update trip", method, f"/trips/{trip.id}", body, token, {"If-Match": etag})
        if reply.is_done:
            trip.was_written(tag, reply.body["version"], reply.etag, reply.body["notes"])
            trip.check("update", (before | {tag}, version + 1), reply.body["version"], reply.body["notes"])
        elif reply.outcome == UNKNOWN:
            trip.may_be_written(tag)
        else:
            trip.was_not_written(tag)
            self.expect_refusal(trip, reply, (412, 404))
        if reply.status == 412:
            self.read_trip(trip, token)

    def expect_refusal(self, trip, reply, statuses):
        """Checks that a refusal has an expected status, and 404 only if the trip is possibly deleted."""
        if reply.outcome != NOT_DONE:
            is_expected = reply.status in statuses and (reply.status != 404 or trip.deletion)
            self.journal.expect("a refusal has a reason", is_expected, lambda: f"trip {trip.id}: {reply}")

    def read(self, _device, token):
        if trip := self.some_trip():
            self.read_trip(trip, token)

    def read_trip(self, trip, token):
        before = trip.snapshot()
        reply = self.client.call("read trip", "GET", f"/trips/{trip.id}", token=token)
        if reply.is_done:
            trip.check("read", before, reply.body["version"], reply.body.get("notes", ""), reply.etag)
        elif reply.outcome != NOT_DONE and reply.status:
            is_expected = reply.status == 404 and (trip.deletion or trip.creation != "acknowledged")
            self.journal.expect("an acknowledged trip is found", is_expected, lambda: f"trip {trip.id}: {reply}")
        return reply

    def delete(self, _device, token):
        trip = self.some_trip()
        if trip is None or len(self.state.live()) < TRIPS_OF_A_USER:
            return
        trip.deletion, was_unknown = "unknown", False
        for _ in range(3):
            reply = self.client.call("delete trip", "DELETE", f"/trips/{trip.id}", token=token)
            if reply.is_done or reply.status == 404 and was_unknown:
                trip.deletion = "acknowledged"
                return
            self.journal.expect("an acknowledged trip is found", reply.status != 404 or self.state.is_contended,
                                lambda: f"trip {trip.id}: {reply}")
            was_unknown = was_unknown or reply.outcome == UNKNOWN
            time.sleep(0.3)
        # If every attempt certainly failed, the trip must still exist. After an attempt with an unknown outcome or
        # a 404, the trip may be deleted.
        trip.deletion = "unknown" if was_unknown or reply.status == 404 else None

    # --- synchronisation

    def push(self, _device, token):
        """Sends one update as an operation that was recorded offline, and repeats it while its outcome is unknown."""
        trip = self.some_trip()
        if trip is None or trip.is_full:
            return
        tag = self.state.new_tag()
        trip.sending(tag)
        with trip.lock:
            version, notes = trip.version, trip.notes
        operation = {"op_id": version_7(), "op": "update", "id": trip.id, "base_version": version,
                     "trip": {"notes": f"{notes} {tag}"}}
        was_unknown = False
        for _ in range(self.random.randint(1, 3)):
            reply = self.client.call("push", "POST", "/sync", {"operations": [operation]}, token)
            if reply.is_done:
                self.pushed(trip, tag, version, reply.body["results"][0], was_unknown)
                return
            if reply.outcome == UNKNOWN:
                was_unknown = True
            time.sleep(0.3)
        (trip.may_be_written if was_unknown else trip.was_not_written)(tag)

    def pushed(self, trip, tag, version, result, was_unknown):
        """Records the result of an operation. After an unknown outcome, the operation may conflict with itself."""
        status, state = result["status"], result.get("trip", {})
        if status == "applied":
            trip.was_written(tag, state["version"], "", state["notes"])
            self.journal.expect("an update has the next version", state["version"] == version + 1,
                                f"trip {trip.id}: {state['version']} after {version}")
        elif status == "duplicate" and was_unknown:
            trip.was_written_before(tag, version + 1)
        elif was_unknown:
            trip.may_be_written(tag)
        else:
            trip.was_not_written(tag)
            is_expected = status == "conflict" or status == "rejected" and trip.deletion
            self.journal.expect("a refusal has a reason", is_expected, f"trip {trip.id}: {result}")

    def pull(self, device, token):
        """Reads the feed from the cursor of the device to the end of the feed."""
        feed, trips = self.feeds[device], dict(self.state.trips)
        before = {trip.id: trip.snapshot() for trip in trips.values()}
        expected = {trip.id: (before[trip.id][1], trip.deletion == "acknowledged") for trip in trips.values()}
        for _ in range(20):
            query = f"?limit={self.random.choice([2, 20, 100])}" + (f"&cursor={feed.cursor}" if feed.cursor else "")
            reply = self.client.call("pull", "GET", f"/sync{query}", token=token)
            if not reply.is_done:
                self.journal.expect("a cursor stays valid", reply.status not in (400, 404, 410),
                                    lambda: str(reply))
                return
            feed.page(self.state.trips, before, reply.body["changes"])
            feed.cursor = reply.body["next_cursor"]
            if not reply.body["has_more"]:
                feed.complete(expected)
                return

    # --- shares

    def share(self, _device, token):
        """Shares a trip, reads the link, ends the share, and reads the link again on every replica."""
        trip = self.some_trip()
        if trip is None:
            return
        reply = self.client.call("share", "PUT", f"/trips/{trip.id}/share", token=token)
        if not reply.is_done:
            return
        link, before = f"/shared/{reply.body['token']}", trip.snapshot()
        shared = self.client.call("read share", "GET", link)
        if shared.is_done:
            trip.check("share", before, before[1], shared.body.get("notes", ""))
        elif shared.status:
            # Another thread may have ended the share in the meantime.
            is_expected = shared.outcome in (NOT_DONE, UNKNOWN) or self.state.is_contended
            self.journal.expect("a shared trip is found", is_expected, lambda: f"trip {trip.id}: {shared}")
        ended = self.client.call("end share", "DELETE", f"/trips/{trip.id}/share", token=token)
        if ended.is_done and not self.state.is_contended:
            for replica in range(len(self.client.replicas)):
                again = self.client.call("read share", "GET", link, replica=replica)
                self.journal.expect("an ended share is refused", not again.is_done, lambda: f"trip {trip.id}: {again}")

    # --- sessions

    def refresh(self, device, _token):
        session = self.sessions[device]
        if not session.may_refresh():
            return
        self.random.choice([session.refresh, session.refresh_with_lost_reply, session.refresh_with_lost_reply,
                            session.refresh_twice_at_once])()

    def end_session(self, device, token):
        """Logs in on a third device, and ends that session in one of two ways."""
        other = self.account.begin_session()
        if other is None:
            return
        is_logout = self.random.random() < 0.5
        for _ in range(4):
            if is_logout:
                reply = self.client.call("log out", "POST", "/auth/logout", {"refresh_token": other.refresh_token})
            else:
                reply = self.client.call("end session", "DELETE", f"/me/sessions/{other.id}", token=token)
            if reply.is_done or reply.status == 404:
                self.ended.add(other)
                return
            time.sleep(0.3)

    def sign_up_another(self, _device, _token):
        account = Account(f"{self.account.name}-{self.state.new_tag()}-{self.random.randrange(1 << 16)}", self.client,
                          self.journal)
        for _ in range(3):
            if account.sign_up() or account.exists:
                self.accounts.append(account)
                return

    def guess_passwords(self, _device, _token):
        """Tries wrong passwords for one name from another address. The server must compare at most ten."""
        numbers = self.random.randint(100, 250), self.random.randrange(256), self.random.randint(1, 254)
        guesser = self.client.from_address("127.{}.{}.{}".format(*numbers))
        body = {"identifier": f"victim-{version_7()[-12:]}", "password": "not the password"}
        compared, seen = 0, []
        for _ in range(ATTEMPTS):
            reply = guesser.call("guess", "POST", "/auth/login", body)
            seen.append(reply.status)
            compared += reply.status == 401
            self.journal.expect("a guess never succeeds", not reply.is_done, str(reply))
        self.journal.expect("the throttle holds on all replicas together", compared <= FREE_FAILURES,
                            f"statuses {seen}")
