"""Trips with long notes, and the most expensive searches of these trips."""

import json
import random
import statistics
import threading
import time
import uuid

from phones import version_7
from server import exchange, full_exchange

TRIPS = 10_140
NOTES = 10_000
BATCH = 350
# The pieces of this text occur in many trips, but the whole text occurs in none.
HARDEST = "a" * 199 + "b"
# The syllables of the words in the notes.
SYLLABLES = "ba be bi bo bu da de di do fa fe fi ga go ka ke ki ko la le li lo lu ma me mi mo na ne ni".split()


def words():
    """Returns a generator of random words. As in prose, there are about 4,000 different words, and a few are
    frequent."""
    chance = random.Random(7)
    vocabulary = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(4_000)]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    while True:
        yield from chance.choices(vocabulary, weights, k=2_000)


def notes(number, source):
    """Returns prose, or, for every third trip, a text that resembles the hardest search text."""
    if number % 3 == 2:
        return ((HARDEST[1:] + " ") * (NOTES // len(HARDEST) + 1))[:NOTES]
    text = []
    while sum(map(len, text)) + len(text) < NOTES:
        text.append(next(source))
    if number % 500 == 0:
        text[0] = "zanzibar"
    return " ".join(text)[:NOTES]


def fill(port, token, trips=TRIPS):
    """Creates the trips, and returns the number of seconds that this took."""
    source, headers, seconds = words(), {"Authorization": f"Bearer {token}"}, 0
    for first in range(0, trips, BATCH):
        operations = [{"op_id": str(uuid.uuid4()), "op": "create", "id": version_7(),
                       "trip": {"title": f"Trip {number}", "notes": notes(number, source)}}
                      for number in range(first, min(first + BATCH, trips))]
        began = time.perf_counter()
        status, body = exchange(port, "POST", "/api/v1/sync", {"operations": operations}, headers)
        seconds += time.perf_counter() - began
        assert status == 200 and all(one["status"] == "applied" for one in json.loads(body)["results"]), status
    return seconds


def search(port, token, q, limit=20, sort="-created_at"):
    """Returns the status and the milliseconds of a search."""
    path = f"/api/v1/trips?q={q}&limit={limit}&sort={sort}"
    began = time.perf_counter()
    status, _ = exchange(port, "GET", path, headers={"Authorization": f"Bearer {token}"})
    return status, (time.perf_counter() - began) * 1000


def median_ms(port, token, q, sort="-created_at"):
    found = [search(port, token, q, sort=sort) for _ in range(7)]
    assert all(status == 200 for status, _ in found), found
    return statistics.median(took for _, took in found)


def read_p99(port, token, path, seconds):
    """Returns the 99th percentile of the milliseconds of successive requests, and the number of failures."""
    times, failed, end = [], 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        status, _, _ = full_exchange(port, "GET", path, headers={"Authorization": f"Bearer {token}"})
        times.append((time.perf_counter() - began) * 1000)
        failed += status != 200
    return sorted(times)[len(times) * 99 // 100], failed


class Attack:
    """50 clients that repeat a search, for the duration of a `with` block."""

    def __init__(self, port, token, q):
        self.statuses, self.stopping = {}, False
        self.threads = [threading.Thread(target=self.run, args=(port, token, q)) for _ in range(50)]

    def run(self, port, token, q):
        while not self.stopping:
            status, _ = search(port, token, q, limit=1)
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()
