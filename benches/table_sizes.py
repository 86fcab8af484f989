#!/usr/bin/env python3
"""Measures the size of the rows of each table, on SQLite and on the PostgreSQL server in TRIPGATE_TEST_DATABASE_URL:

    .ci/with_database.sh postgres -- benches/table_sizes.py BINARY [USERS]

A server stores the data of one user who has 20 trips, half of them with three stops, and has used most features. The
script copies these rows to USERS users (default 50,000) in the order in which real users would create them: all
users' first rows, then all users' second rows. Ids, digests and names differ, the other values do not. No row is
updated or deleted, so the sizes do not contain dead rows.

Prints a table in Markdown. Requires `sqlite3` with the table `dbstat`, and `psql`.
"""

import hashlib
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

from seed import PLACES
from server import Process, exchange, free_port

NAME = "tripgate_sizes_benchmark"
PASSWORD = "a quiet harbour at dusk"
TRIPS = "/api/v1/trips"
# A table comes after the tables that it refers to.
TABLES = ["users", "sessions", "known_devices", "security_events", "personal_tokens", "trip_counters", "trips",
          "trip_shares", "trip_tombstones", "sync_operations", "idempotency_keys", "revocations", "throttle_buckets"]


def use_features(port):
    """Creates the user whose rows are copied."""
    token = None

    def call(method, path, status, body=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        answer, content = exchange(port, method, path, body, {name.replace("_", "-"): value
                                                              for name, value in headers.items()})
        assert answer == status, f"{method} {path}: {answer} {content}"
        return content

    def value(name, content):
        return re.search(rf'"{name}":"([^"]+)"'.encode(), content)[1].decode()

    agent = {"User_Agent": "TripsApp/4.2 (Android 15; Pixel 9)"}
    user = {"username": "user00000000", "email": "user00000000@example.org", "password": PASSWORD}
    token = value("access_token", call("POST", "/api/v1/auth/signup", 201, user | {"device_name": "Pixel 9"}, **agent))
    login = {"identifier": "user00000000", "device_name": "iPad Air"}
    call("POST", "/api/v1/auth/login", 401, login | {"password": "a wrong one"}, **agent)
    for _ in range(2):
        grant = call("POST", "/api/v1/auth/login", 200, login | {"password": PASSWORD}, **agent)
    call("POST", "/api/v1/auth/logout", 204, {"refresh_token": value("refresh_token", grant)})
    stops = [{"name": name, "latitude": latitude, "longitude": longitude, "arrives_at": f"2027-05-0{day}T10:00:00",
              "departs_at": f"2027-05-0{day}T18:30:00"} for day, name, latitude, longitude in PLACES]
    trip = {"destination": "Lisbon", "start_date": "2027-05-01", "end_date": "2027-05-10",
            "time_zone": "Europe/Lisbon", "notes": "Trains are booked, the first two nights too."}
    for turn in range(21):
        body = trip | {"title": f"Trip {turn + 1} along the coast", "stops": stops if turn % 2 else []}
        key = {"Idempotency_Key": str(uuid.uuid4())} if turn < 2 else {}
        created = value("id", call("POST", TRIPS, 201, body, **key))
    call("DELETE", f"{TRIPS}/{created}", 204)
    listed = value("id", call("GET", f"{TRIPS}?limit=1", 200))
    call("PUT", f"{TRIPS}/{listed}/share", 200)
    operation = {"op_id": str(uuid.uuid4()), "op": "update", "id": listed, "base_version": 1,
                 "trip": {"title": "Trip 20 along the coast."}}
    applied = call("POST", "/api/v1/sync", 200, {"operations": [operation]})
    assert b'"applied"' in applied, applied
    call("POST", "/api/v1/me/tokens", 201, {"name": "Backup script", "scope": "trips:read"})


def template(binary, directory):
    """Returns the database, and the columns and the rows of each table."""
    port = free_port()
    settings = {"LISTEN": f"127.0.0.1:{port}", "DATA_DIR": str(directory), "BCRYPT_COST": "4",
                "PUBLIC_URL": "http://127.0.0.1", "LOG": "warn"}
    environment = {f"TRIPGATE_{name}": value for name, value in settings.items()}
    with Process([binary], port, "/health/ready", environment, directory):
        use_features(port)
    link = sqlite3.connect(directory / "tripgate.db")
    rows = {}
    for table in TABLES:
        cursor = link.execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in cursor.description]
        rows[table] = columns, cursor.fetchall()
        assert rows[table][1], f"{table} is empty"
    return link, rows


def is_id(column):
    return column == "id" or column.endswith("_id") or column == "holder"


def copied(table, columns, row, number):
    """Returns a copy of the row for the user with this number."""
    mask = int.from_bytes(hashlib.sha256(number.to_bytes(8, "big")).digest()[:7], "big")

    def value(column, old):
        if table == "throttle_buckets":
            return random.getrandbits(62) if column == "id" else old
        if column == "seq":
            return number + 1
        if isinstance(old, bytes) and (is_id(column) or column == "subject"):
            return (int.from_bytes(old, "big") ^ mask).to_bytes(16, "big")
        if isinstance(old, bytes) and len(old) == 32:
            return hashlib.sha256(old + number.to_bytes(8, "big")).digest()
        if isinstance(old, str) and "user00000000" in old:
            return old.replace("user00000000", f"user{number:08}")
        return old

    return [value(*pair) for pair in zip(columns, row)]


def all_rows(rows, users):
    """Yields each table with the rows of all users."""
    for table, (columns, of_one) in rows.items():
        yield table, columns, (copied(table, columns, row, number) for row in of_one for number in range(1, users + 1))


def fill_sqlite(link, rows, users):
    link.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -1000000;"
                       " PRAGMA foreign_keys = OFF")
    for table, columns, values in all_rows(rows, users):
        link.execute(f"DELETE FROM {table}")
        places = ", ".join("?" * len(columns))
        link.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)
        link.commit()
    link.close()


def sqlite_sizes(database):
    """Returns the bytes of each table and of its indexes."""
    sql = ("SELECT tbl_name, name = tbl_name, SUM((SELECT SUM(pgsize) FROM dbstat d WHERE d.name = s.name AND"
           " d.aggregate = TRUE)) FROM sqlite_schema s WHERE rootpage > 0 GROUP BY 1, 2")
    lines = subprocess.run(["sqlite3", database, sql], check=True, stdout=subprocess.PIPE, text=True).stdout
    sizes = defaultdict(lambda: [0, 0])
    for line in lines.splitlines():
        table, is_table, size = line.split("|")
        sizes[table][1 - int(is_table)] += int(size or 0)
    return sizes


def on_postgres(url, sql, database=NAME, lines=None):
    """Runs a statement, with lines for COPY if given. Returns the output."""
    command = ["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", url.hostname, "-p", str(url.port), "-U", url.username,
               "-c", sql, database]
    environment = os.environ | {"PGPASSWORD": url.password}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as psql:
        for line in lines or ():
            psql.stdin.write(line)
        psql.stdin.close()
        output = psql.stdout.read().decode()
    assert psql.returncode == 0, sql
    return output


def as_text(column, value):
    """Returns a value in the text format of COPY."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value)) if is_id(column) or column == "subject" else "\\\\x" + value.hex()
    return str(value).replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def fill_postgres(binary, url, directory, rows, users):
    on_postgres(url, f"CREATE DATABASE {NAME}", "postgres")
    target = url._replace(path=f"/{NAME}").geturl()
    command = [binary, "migrate", "up", "--data-dir", directory, "--database-url", target]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for table, columns, values in all_rows(rows, users):
        lines = ("\t".join(map(as_text, columns, row)).encode() + b"\n" for row in values)
        on_postgres(url, f"COPY {table} ({', '.join(columns)}) FROM STDIN", lines=lines)
    on_postgres(url, "VACUUM ANALYZE")


def postgres_sizes(url):
    sql = "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class WHERE relkind = 'r'"
    lines = (line.split("|") for line in on_postgres(url, sql).splitlines())
    return {table: [int(size), int(indexes)] for table, size, indexes in lines}


def main():
    binary, users = str(Path(sys.argv[1]).resolve()), int((sys.argv[2:] or ["50000"])[0])
    url = os.environ.get("TRIPGATE_TEST_DATABASE_URL")
    with tempfile.TemporaryDirectory() as directory:
        link, rows = template(binary, Path(directory))
        fill_sqlite(link, rows, users)
        sizes = {"SQLite": sqlite_sizes(f"{directory}/tripgate.db")}
        if url:
            url = urlsplit(url)
            try:
                fill_postgres(binary, url, directory, rows, users)
                sizes["PostgreSQL"] = postgres_sizes(url)
            finally:
                on_postgres(url, f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", "postgres")
    print("| table | rows per user | " + " | ".join(f"{name}: bytes per row, table + indexes" for name in sizes) + " |")
    print("|---|---|" + "---|" * len(sizes))
    totals = dict.fromkeys(sizes, 0)
    for table, (_, of_one) in rows.items():
        count = len(of_one) * users
        cells = []
        for name, of_tables in sizes.items():
            own, indexes = of_tables[table]
            totals[name] += (own + indexes) / users
            cells.append(f"{own / count:,.0f} + {indexes / count:,.0f} = {(own + indexes) / count:,.0f}")
        print(f"| `{table}` | {len(of_one)} | {' | '.join(cells)} |")
    print("| all, per user | | " + " | ".join(f"{total:,.0f}" for total in totals.values()) + " |")


if __name__ == "__main__":
    main()
