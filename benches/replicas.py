#!/usr/bin/env python3
"""Measures what the polls and the throttle of many replicas cost a PostgreSQL server:

    .ci/with_database.sh postgres -- benches/replicas.py BINARY [--replicas 100] [--seconds 15]

The script starts one server, and records every statement that the server sends to its database while the server
is idle, ends a session and rejects a login. Then the script stops the server, and repeats the recorded statements on
the connections of many replicas, with the same prepared statements and types of values: the polls every 300 ms, and
the transaction that counts a failed login, without pauses. No replica runs, but the database is real. The script runs
on the machine of the database, so the script slows the database down.

Prints a table in Markdown. Requires Python 3.9, and PostgreSQL on this machine, because it reads the CPU time of
the processes of PostgreSQL.
"""

import argparse
import asyncio
import json
import os
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

from postgres_wire import Connection, Proxy, Statement
from server import Process, exchange, free_port

NAME = "tripgate_replicas_benchmark"
PASSWORD = "a quiet harbour at dusk"
# `POLL_EVERY` of src/housekeeping.rs, and the constants of src/tokens/revocations.rs.
POLL_EVERY, OVERLAP, PAGE, FULL_POLL_EVERY = 0.3, 20, 10_000, 20
# `MAX_AGE` of src/tokens/freshness.rs: if the last poll is older, a request starts a poll.
MAX_AGE = 0.9
IDLE_SECONDS = 20
# The number of requests of each kind.
REQUESTS = 300


def simple(sql):
    return Statement(sql, is_simple=True)


def number(value):
    return struct.pack("!q", value)


# --- recording


class Recording:
    """The statements of one server."""

    async def run(self, binary, url, postmaster):
        with tempfile.TemporaryDirectory() as directory:
            async with Proxy(url) as proxy:
                await asyncio.to_thread(self.use_server, binary, proxy, Path(directory), postmaster)

    def use_server(self, binary, proxy, directory, postmaster):
        port = free_port()
        settings = {"DATABASE_URL": proxy.url, "LISTEN": f"127.0.0.1:{port}", "DATA_DIR": str(directory),
                    "BCRYPT_COST": "4", "PUBLIC_URL": "http://127.0.0.1", "LOG": "warn",
                    "QUOTA_SESSIONS": "10000"}
        environment = {f"TRIPGATE_{name}": value for name, value in settings.items()}
        with Process([binary], port, "/health/ready", environment, directory):
            def call(path, status, **body):
                answer, content = exchange(port, "POST", f"/api/v1/auth/{path}", body)
                assert answer == status, f"{path}: {answer} {content}"
                return content

            call("signup", 201, username="ada", password=PASSWORD)
            time.sleep(5)
            self.idle = self.during(proxy, lambda: time.sleep(IDLE_SECONDS))
            login = {"identifier": "ada", "password": PASSWORD}
            token = re.search(rb'"refresh_token":"([^"]+)"', call("login", 200, **login))[1].decode()
            self.logout = self.during(proxy, lambda: call("logout", 204, refresh_token=token))
            self.operations = dict(self.use_operations(port, proxy, postmaster))
            # The second failure updates the counters that the first one has inserted.
            login["password"] = "a wrong one"
            call("login", 401, **login)
            time.sleep(1.2)
            self.failure = self.during(proxy, lambda: call("login", 401, **login))

    def use_operations(self, port, proxy, postmaster):
        """Yields the number of statements and the CPU time of PostgreSQL for one request of each kind, after
        subtracting those of an idle server."""
        def call(method, path, status, body=None, **headers):
            answer, content = exchange(port, method, f"/api/v1/{path}", body, headers)
            assert answer == status, f"{path}: {answer} {content}"
            return content

        credentials = {"identifier": "ada", "password": PASSWORD}
        grant = json.loads(call("POST", "auth/login", 200, credentials))
        bearer = {"Authorization": f"Bearer {grant['access_token']}"}
        trip = {"title": "Trip along the coast", "destination": "Lisbon", "start_date": "2027-05-01",
                "notes": "Trains are booked, the first two nights too."}
        for _ in range(100):
            created = json.loads(call("POST", "trips", 201, trip, **bearer))["id"]
        tokens = [grant["refresh_token"]]

        def refresh():
            body = {"refresh_token": tokens.pop()}
            tokens.append(json.loads(call("POST", "auth/refresh", 200, body))["refresh_token"])

        operations = {
            "GET /api/v1/auth/session": lambda: call("GET", "auth/session", 200, **bearer),
            "GET /api/v1/trips": lambda: call("GET", "trips", 200, **bearer),
            "GET /api/v1/trips/{id}": lambda: call("GET", f"trips/{created}", 200, **bearer),
            "GET /api/v1/sync": lambda: call("GET", "sync?limit=20", 200, **bearer),
            "POST /api/v1/trips": lambda: call("POST", "trips", 201, trip, **bearer),
            "PATCH /api/v1/trips/{id}": lambda: call("PATCH", f"trips/{created}", 200, {"notes": None}, **bearer),
            "POST /api/v1/auth/refresh": refresh,
            "POST /api/v1/auth/login": lambda: call("POST", "auth/login", 200, credentials)}
        idle = None
        for name, operation in [("idle", None), *operations.items()]:
            began, cpu, start = len(proxy.recorded), cpu_seconds(postmaster), time.perf_counter()
            for _ in range(REQUESTS):
                operation() if operation else time.sleep(IDLE_SECONDS / 4 / REQUESTS)
            took, cpu = time.perf_counter() - start, cpu_seconds(postmaster) - cpu
            sent = len(proxy.recorded) - began
            if idle is None:
                idle = sent / took, cpu / took
            else:
                yield name, ((sent - idle[0] * took) / REQUESTS, (cpu - idle[1] * took) / REQUESTS)

    @staticmethod
    def during(proxy, action):
        began = len(proxy.recorded)
        action()
        return proxy.recorded[began:]

    def poll(self):
        """Returns the statements of a poll, and the number of connections that these statements use."""
        often = Counter(statement.sql for _, _, statement in self.idle)
        polls = IDLE_SECONDS / POLL_EVERY
        texts = {sql for sql, count in often.items() if count > polls / 2}
        found = {statement.sql: (statement, connection) for _, connection, statement in self.idle
                 if statement.sql in texts}
        assert any('"revocations"' in sql for sql in found), f"no poll was recorded: {often}"
        return [statement for statement, _ in found.values()], len({connection for _, connection in found.values()})

    def revocation(self):
        found = [statement for _, _, statement in self.logout if 'INTO "revocations"' in statement.sql]
        assert len(found) == 1, self.logout
        return found[0]

    def counting(self):
        """Returns the statement that reads the counters of a login, and the statements that count a failure: for
        each counter, an upsert and the statements after the upsert."""
        of_throttle = [statement for _, _, statement in self.failure if "throttle_buckets" in statement.sql]
        reads = [statement for statement in of_throttle if statement.sql.startswith("SELECT")]
        groups = []
        for statement in of_throttle:
            if statement.sql.startswith("INSERT"):
                groups.append([])
            if not statement.sql.startswith("SELECT"):
                groups[-1].append(statement)
        assert reads and len(groups) == 3, of_throttle
        return reads[0], groups


# --- the database


def cpu_seconds(postmaster):
    """Returns the CPU time of the processes of PostgreSQL that run now."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if str(postmaster) in (entry.name, parent):
                total += int((entry / "schedstat").read_text().split()[0])
        except OSError:
            continue  # The process has ended.
    return total / 1e9


async def postmaster_of(connection):
    response = await connection.execute(simple("SELECT 'pid:' || pg_backend_pid()"))
    pid = re.search(rb"pid:(\d+)", response)[1].decode()
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# --- the polls


class Replica:
    """Polls as `Tokens::poll` does: each poll reads again the rows of the last 20 seconds, because a row of a
    slow transaction becomes visible late."""

    def __init__(self, statements, connections, feed):
        self.statements, self.connections, self.feed = statements, connections, feed
        self.settled, self.recent, self.polls, self.seen = feed.first, deque(), 0, feed.first
        self.delays, self.ages, self.executed, self.bytes = [], [], 0, 0

    def start(self):
        self.polls += 1
        if self.polls % FULL_POLL_EVERY == 0:
            return self.settled
        return max(self.settled, self.recent[-1][1] - PAGE) if self.recent else self.settled

    async def poll(self, began):
        while self.recent and began - self.recent[0][0] > OVERLAP:
            self.settled = self.recent.popleft()[1]
        start = self.start()

        async def execute(index, statement):
            values = list(statement.values)
            if found := re.search(r'"seq" > \$(\d+)', statement.sql):
                values[int(found[1]) - 1] = number(start)
            response = await self.connections[index % len(self.connections)].execute(statement, values)
            self.executed += 1
            self.bytes += len(response)
            return response

        if len(self.connections) >= len(self.statements):
            parts = await asyncio.gather(*(execute(*each) for each in enumerate(self.statements)))
        else:
            parts = [await execute(*each) for each in enumerate(self.statements)]
        response, done = b"".join(parts), time.perf_counter()
        # The rows are in the order of their numbers, so the newest known revocation is the last one found.
        newest = next((seq for seq in range(self.feed.last, self.seen, -1)
                       if self.feed.subjects[seq] in response), self.seen)
        self.delays += [done - self.feed.committed[seq] for seq in range(self.seen + 1, newest + 1)
                        if seq in self.feed.committed]
        self.seen = newest
        self.recent.append((began, newest))

    async def run(self, until):
        await asyncio.sleep(random.uniform(0, POLL_EVERY))
        while (began := time.perf_counter()) < until:
            await self.poll(began)
            self.ages.append(time.perf_counter() - began)
            # The next poll begins one period after the last one began (`MissedTickBehavior::Delay`).
            await asyncio.sleep(max(0, began + POLL_EVERY - time.perf_counter()))


class Feed:
    """Inserts revocations at a constant rate."""

    def __init__(self, statement, connection, first):
        self.statement, self.connection = statement, connection
        self.first = self.last = first
        self.subjects, self.committed = {}, {}

    async def insert(self):
        subject = os.urandom(16)
        self.subjects[self.last + 1] = subject
        self.last += 1
        seq = self.last
        await self.connection.execute(self.statement, [subject, *self.statement.values[1:]])
        self.committed[seq] = time.perf_counter()

    async def run(self, rate, until):
        while rate and time.perf_counter() < until:
            began = time.perf_counter()
            await self.insert()
            await asyncio.sleep(max(0, began + 1 / rate - time.perf_counter()))


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


async def measure_polls(url, recording, options, rate):
    """Measures the polls of all replicas while sessions end at this rate."""
    statements, used = recording.poll()
    writer = await Connection.open(url)
    response = await writer.execute(simple("SELECT 'seq:' || max(seq) FROM revocations"))
    feed = Feed(recording.revocation(), writer, int(re.search(rb"seq:(\d+)", response)[1]))
    replicas = []
    for _ in range(options.replicas):
        connections = [await Connection.open(url) for _ in range(used)]
        replicas.append(Replica(statements, connections, feed))
    # Each poll reads the rows of the last 20 seconds. Let these rows accumulate before the measurement.
    warm_up = OVERLAP + 2 if rate else 2
    postmaster = await postmaster_of(writer)
    began = time.perf_counter()
    until = began + warm_up + options.seconds
    tasks = [asyncio.create_task(part) for part in
             (feed.run(rate, until), *(replica.run(until) for replica in replicas))]
    await asyncio.sleep(warm_up)
    for replica in replicas:
        replica.delays, replica.ages, replica.executed, replica.bytes = [], [], 0, 0
    cpu, script, start = cpu_seconds(postmaster), time.process_time(), time.perf_counter()
    await asyncio.sleep(until - start)
    cpu, script = cpu_seconds(postmaster) - cpu, time.process_time() - script
    took = time.perf_counter() - start
    await asyncio.gather(*tasks)
    delays = sorted(delay * 1000 for replica in replicas for delay in replica.delays)
    ages = sorted(age * 1000 for replica in replicas for age in replica.ages)
    late = sum(age > (MAX_AGE - POLL_EVERY) * 1000 for age in ages)
    sent = sum(replica.executed for replica in replicas)
    size = sum(replica.bytes for replica in replicas)
    for connection in [writer, *(each for replica in replicas for each in replica.connections)]:
        connection.close()
    delay = " / ".join(f"{value:,.0f}" for value in (percentile(delays, 0.5), percentile(delays, 0.99), delays[-1])) \
        if delays else "–"
    print(f"| {rate} | {sent / took:,.0f} | {size / took / 1e6:,.1f} | {cpu / took:.2f} | {script / took:.2f} |"
          f" {percentile(ages, 0.5):.1f} / {percentile(ages, 0.99):.1f} | {late} | {delay} |", flush=True)


# --- the throttle


async def measure_throttle(url, recording, options, what):
    """Measures failed logins: for one account from one address (`all`), for one account from different addresses
    (`account`), or for different accounts and addresses (`none`). `blocked` measures logins of a blocked account."""
    read, groups = recording.counting()
    connections = [await Connection.open(url) for _ in range(options.replicas)]
    postmaster = await postmaster_of(connections[0])
    took = []

    def changed(group):
        is_kept = what == "all" or (what == "account" and b"account" in group[0].values)
        return group[0].values[0] if is_kept else number(random.getrandbits(62))

    async def count(connection):
        # In the order of the ids, as in the server, so that no two transactions wait for each other.
        counters = sorted(((changed(group), group) for group in groups), key=lambda pair: pair[0])
        await connection.execute(simple("BEGIN"))
        for identity, group in counters:
            for statement in group:
                values = [identity if value == group[0].values[0] else value for value in statement.values]
                await connection.execute(statement, values)
        await connection.execute(simple("COMMIT"))

    async def run(connection, until):
        while (began := time.perf_counter()) < until:
            await (connection.execute(read) if what == "blocked" else count(connection))
            took.append((time.perf_counter() - began) * 1000)

    cpu, script, start = cpu_seconds(postmaster), time.process_time(), time.perf_counter()
    await asyncio.gather(*(run(connection, start + options.seconds / 2) for connection in connections))
    cpu, script = cpu_seconds(postmaster) - cpu, time.process_time() - script
    lasted = time.perf_counter() - start
    for connection in connections:
        connection.close()
    took.sort()
    texts = {"all": "failed logins for one account from one address",
             "account": "failed logins for one account, each from another address",
             "none": "failed logins for different accounts from different addresses",
             "blocked": "logins of a blocked account, which only read"}
    print(f"| {texts[what]} | {len(took) / lasted:,.0f} | {cpu / lasted:.2f} | {script / lasted:.2f} |"
          f" {percentile(took, 0.5):,.0f} / {percentile(took, 0.99):,.0f} / {took[-1]:,.0f} |", flush=True)


async def measure(binary, url, options):
    recording = Recording()
    connection = await Connection.open(url)
    await recording.run(binary, url, await postmaster_of(connection))
    connection.close()
    statements, used = recording.poll()
    print(f"One idle server sends {len(recording.idle) / IDLE_SECONDS:.1f} statements a second. A poll has"
          f" {len(statements)} statements on {used} connections.\n")
    for sql, count in Counter(statement.sql for _, _, statement in recording.idle).most_common():
        print(f"    {count / IDLE_SECONDS:.2f}/s  {sql[:150]}")
    print("\n| request | statements | CPU time of PostgreSQL, ms |\n|---|---|---|")
    for name, (count, cpu) in recording.operations.items():
        print(f"| `{name}` | {max(0, count):.1f} | {max(0, cpu) * 1000:.2f} |")
    print(f"\nPolls of {options.replicas} replicas:\n")
    print("| revocations a second | statements a second | MB a second | cores of PostgreSQL | cores of this script |"
          " duration of a poll, p50 / p99, ms | polls over 600 ms | delay of a revocation, p50 / p99 / max, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for rate in options.rates:
        await measure_polls(url, recording, options, rate)
    print(f"\nThrottle, on {options.replicas} connections without pauses:\n")
    print("| load | a second | cores of PostgreSQL | cores of this script | p50 / p99 / max, ms |")
    print("|---|---|---|---|---|")
    for what in ("all", "account", "none", "blocked"):
        await measure_throttle(url, recording, options, what)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("binary")
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")], default=[0, 10, 50])
    options = parser.parse_args()
    url = os.environ["TRIPGATE_TEST_DATABASE_URL"]
    administrator = await Connection.open(url)
    await administrator.execute(simple(f"CREATE DATABASE {NAME}"))
    try:
        await measure(str(Path(options.binary).resolve()), urlsplit(url)._replace(path=f"/{NAME}").geturl(), options)
    finally:
        await administrator.execute(simple(f"DROP DATABASE {NAME} WITH (FORCE)"))
        administrator.close()


if __name__ == "__main__":
    asyncio.run(main())
