#!/usr/bin/env python3
"""Measures `tripgate copy` from SQLite to the server in TRIPGATE_TEST_DATABASE_URL, and back to SQLite:

    .ci/with_database.sh postgres -- benches/copy_database.py BINARY [USERS]

Each user has 20 trips, and every second user's trips have stops. Prints a JSON line for each of three copies:
the first copy, a second copy without changes in between, and the copy back to SQLite. Drops the database that
it creates on the server.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from seed import seed

NAME = "tripgate_copy_benchmark"


def on_server(url, sql):
    """Runs a statement on the server."""
    if url.scheme == "mysql":
        command = ["mariadb", "--no-defaults", "-h", url.hostname, "-P", str(url.port), "-u", url.username, "-e", sql]
        environment = {"MYSQL_PWD": url.password}
    else:
        command = ["psql", "-q", "-h", url.hostname, "-p", str(url.port), "-U", url.username, "-c", sql, "postgres"]
        environment = {"PGPASSWORD": url.password}
    subprocess.run(command, check=True, env=os.environ | environment)


def copy(binary, data, source, target):
    """Copies the database `source` to `target`, and returns the report."""
    command = [binary, "copy", "--json", "--data-dir", data, "--database-url", source, "--to", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    binary, users = str(Path(sys.argv[1]).resolve()), int((sys.argv[2:] or ["5000"])[0])
    url = urlsplit(os.environ["TRIPGATE_TEST_DATABASE_URL"])
    server = url._replace(path=f"/{NAME}").geturl()
    with tempfile.TemporaryDirectory() as data:
        subprocess.run([binary, "migrate", "up", "--data-dir", data], check=True, stdout=subprocess.DEVNULL)
        source = f"{data}/tripgate.db"
        with sqlite3.connect(source) as link:
            link.execute("INSERT INTO users (id, email_verified, username, username_key, password_hash, created_at,"
                         " updated_at) VALUES (zeroblob(16), 0, 'cheap', 'cheap', 'none', 0, 0)")
        link.close()
        seed(source, users)
        source = f"sqlite://{source}"
        on_server(url, f"CREATE DATABASE {NAME}")
        try:
            for what, pair in {"copy": (source, server), "no changes": (source, server),
                               "back": (server, f"sqlite://{data}/back.db")}.items():
                report = copy(binary, data, *pair)
                print(json.dumps({"what": what, "to": pair[1].split(":")[0], "rows": report["rows"],
                                  "seconds": report["seconds"],
                                  "rows_per_second": round(report["rows"] / report["seconds"])}), flush=True)
        finally:
            on_server(url, f"DROP DATABASE {NAME}")


if __name__ == "__main__":
    main()
