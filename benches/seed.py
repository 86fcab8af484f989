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


def seed(database, users):
    """Inserts users with 20 trips each, in the order of a growing table: all users' first trips, then all
    second trips. The trips of every other user have stops."""
    link = sqlite3.connect(database)
    link.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY;")
    ids = [uuid.UUID(int=(CREATED_AT + number << 80) | 0x7 << 76 | 0x2 << 62 | number * 2654435761 % 2**61).bytes
           for number in range(users)]
    hashed, = link.execute("SELECT password_hash FROM users WHERE username = 'cheap'").fetchone()
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
