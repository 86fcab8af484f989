"""The model of a trip, and the checks against it.

The notes of a trip are a list of tags. Each write appends one new tag to the notes that the client has read, and
names the version that it has read (`If-Match`, or `base_version` of a sync operation). Therefore the tags of any
later read show a lost update, a write that was acknowledged but is missing, and a write that was done although the
server reported it as not done.
"""

import threading

MAX_TAGS = 400


class TripModel:
    """What a client knows about one trip. Several devices may use one model at the same time."""

    def __init__(self, trip_id, journal):
        self.id, self.journal, self.lock = trip_id, journal, threading.Lock()
        # Tags by the state of their write. A write in `sent` has no response yet.
        self.sent, self.acknowledged, self.unknown, self.not_done = set(), set(), set(), set()
        self.by_version = {}
        self.version, self.etag, self.notes = 0, "", ""
        # The outcomes of the requests to create and to delete the trip: "unknown", "acknowledged", or None.
        self.creation, self.deletion = None, None

    def snapshot(self):
        """Returns the tags that every read from now on must contain, and the minimum version of such a read."""
        with self.lock:
            return set(self.acknowledged), self.version

    def sending(self, tag):
        with self.lock:
            self.sent.add(tag)

    def was_written(self, tag, version, etag, notes):
        """Records an acknowledged write. Each version has at most one."""
        with self.lock:
            self.sent.discard(tag)
            self.unknown.discard(tag)
            self.acknowledged.add(tag)
            other = self.by_version.setdefault(version, tag)
            is_newest = version > self.version
            if is_newest:
                self.version, self.etag, self.notes = version, etag, notes
        self.journal.expect("a version has one acknowledged write", other == tag,
                            f"trip {self.id} version {version}: {other} and {tag}")

    def was_not_written(self, tag):
        with self.lock:
            self.sent.discard(tag)
            self.not_done.add(tag)

    def was_written_before(self, tag, version):
        """Records a write whose first response was lost. The next read learns the state of the trip."""
        with self.lock:
            self.sent.discard(tag)
            self.unknown.discard(tag)
            self.acknowledged.add(tag)
            other = self.by_version.setdefault(version, tag)
            self.etag = ""
        self.journal.expect("a version has one acknowledged write", other == tag,
                            f"trip {self.id} version {version}: {other} and {tag}")

    def may_be_written(self, tag):
        with self.lock:
            self.sent.discard(tag)
            self.unknown.add(tag)

    def check(self, what, before, version, notes, etag=""):
        """Checks a state of the trip that a response shows, and learns which unknown writes were done."""
        acknowledged, known_version = before
        tags = notes.split()
        present = set(tags)
        with self.lock:
            possible = self.acknowledged | self.unknown | self.sent
            forbidden = present & self.not_done
            for tag in present & self.unknown:
                self.unknown.discard(tag)
                self.acknowledged.add(tag)
            if version > self.version or version == self.version and etag:
                self.version, self.etag, self.notes = version, etag, notes
        expect = self.journal.expect
        expect("acknowledged writes are present", acknowledged <= present,
               lambda: f"{what}, trip {self.id} version {version}: missing {sorted(acknowledged - present)}")
        expect("writes that were reported as not done are absent", not forbidden,
               lambda: f"{what}, trip {self.id} version {version}: {sorted(forbidden)}")
        expect("only tags that a client sent are present", present <= possible | forbidden,
               lambda: f"{what}, trip {self.id}: {sorted(present - possible - forbidden)}")
        expect("no write is applied twice", len(tags) == len(present), lambda: f"{what}, trip {self.id}: {tags}")
        expect("versions do not go backwards", version >= known_version,
               lambda: f"{what}, trip {self.id}: {version} after {known_version}")

    @property
    def is_full(self):
        return len(self.acknowledged) + len(self.unknown) >= MAX_TAGS


class FeedModel:
    """The cursor of one device, and the state of the trips that its feed has shown."""

    def __init__(self, journal):
        self.journal, self.cursor = journal, None
        self.versions, self.deleted = {}, set()

    def page(self, trips, before, changes):
        """Records the changes of a page. `before` has the snapshot of each trip at the first page."""
        for change in changes:
            trip, version = change["id"], change["version"]
            self.journal.expect("the feed does not go backwards", version >= self.versions.get(trip, 0),
                                lambda: f"trip {trip}: {version} after {self.versions[trip]}")
            self.versions[trip] = version
            if change["op"] == "delete":
                self.deleted.add(trip)
            elif trip in trips:
                trips[trip].check("feed", before.get(trip, (set(), 0)), version, change["trip"].get("notes", ""))

    def complete(self, expected):
        """Checks, after the last page, that every change that was acknowledged before the first page is there."""
        for trip, (version, is_deleted) in expected.items():
            self.journal.expect("the feed has no gap",
                                self.versions.get(trip, 0) >= version and (not is_deleted or trip in self.deleted),
                                lambda: f"trip {trip}: {self.versions.get(trip)} in the feed of a cursor, {version} "
                                        f"was acknowledged{', deleted' if is_deleted else ''}")
