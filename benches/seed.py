"""Fills databases with users and trips."""

import json
import sqlite3
import uuid

CREATED_AT = 1_780_000_000_000
PLACES = [(1, "Lisboa, Cais do Sodré", 38.7058, -9.1447), (3, "Palácio da Pena", 38.7876, -9.3904),
          (5, "Cabo da Roca", 38.7804, -9.4989)]


def stops():
    """Returns three stops in the format of the database."""
    return json.dumps([{"id": str(uuid.uuid4()), "name": name, "latitude": latitude, "longitude": longitude,
                        "arrives_at": f"2027-05-0{day}T10:00:00", "departs_at": f"2027-05-0{day}T18:30:00"}
                       for day, name, latitude, longitude in PLACES], ensure_ascii=False, separators=(",", ":"))


def seed(database, users, template="cheap"):
    """Inserts users with 20 trips each, in the order of a growing table: all users' first trips, then all
    second trips. The trips of every second user have stops. All users have the password of `template`."""
    link = sqlite3.connect(database)
    link.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY;")
    ids = [uuid.UUID(int=(CREATED_AT + number << 80) | 0x7 << 76 | 0x2 << 62 | number * 2654435761 % 2**61).bytes
           for number in range(users)]
    hashed, = link.execute("SELECT password_hash FROM users WHERE username = ?", (template,)).fetchone()
    link.executemany("INSERT INTO users (id, email_verified, username, username_key, password_hash, created_at,"
                     " updated_at) VALUES (?, 0, ?, ?, ?, ?, ?)",
                     ((user, f"user{number:05}", f"user{number:05}", hashed, CREATED_AT, CREATED_AT)
                      for number, user in enumerate(ids)))
    link.executemany("INSERT INTO trip_counters (owner_id, value) VALUES (?, 20)", ((user,) for user in ids))
    with_stops = stops()
    trips = ((owner, (at := CREATED_AT + turn * 86_400_000 + number),
              uuid.UUID(int=(at << 80) | 0x7 << 76 | 0x2 << 62 | number * 2246822519 % 2**61).bytes,
              f"Trip {turn + 1} along the coast", "Lisbon", "2027-05-01", "2027-05-10", "Europe/Lisbon",
              "Trains are booked, the first two nights too.", "planned", turn + 1, at,
              with_stops if number % 2 else "[]", 20_939, f"trip {turn + 1} along the coast",
              f"trip {turn + 1} along the coast\nlisbon\ntrains are booked, the first two nights too.")
             for turn in range(20) for number, owner in enumerate(ids))
    link.executemany("INSERT INTO trips (owner_id, created_at, id, title, destination, start_date, end_date,"
                     " time_zone, notes, status, version, change_seq, updated_at, stops, start_key, title_key, search)"
                     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)", trips)
    link.commit()
    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    link.close()


def multiply(database, table, copies):
    """Replaces the only row of a table of any system by copies. Each element of `copies` maps the names of columns to
    values that differ from the row."""
    link = sqlite3.connect(database)
    link.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY;")
    cursor = link.execute(f"SELECT * FROM {table}")
    columns = [column[0] for column in cursor.description]
    (row,) = cursor.fetchall()
    # Creating the indexes afterwards is faster than inserting into them in random order.
    indexes = link.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                           (table,)).fetchall()
    for name, _ in indexes:
        link.execute(f"DROP INDEX {name}")
    link.execute(f"DELETE FROM {table}")
    link.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                     (tuple(map(copy.get, columns, row)) for copy in copies))
    for _, sql in indexes:
        link.execute(sql)
    link.commit()
    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    link.close()
