"""The sync requests of a phone that was offline."""

import http.client
import json
import os
import time
import uuid

from seed import PLACES

SYNC_OPERATIONS = 500
STOPS = [{"name": name, "latitude": latitude, "longitude": longitude, "arrives_at": f"2027-05-0{day}T10:00",
          "departs_at": f"2027-05-0{day}T18:30"} for day, name, latitude, longitude in PLACES]
TRIP = {"title": "Ten days along the coast", "destination": "Lisbon", "start_date": "2027-05-01",
        "end_date": "2027-05-10", "time_zone": "Europe/Lisbon", "notes": "Trains are booked.", "stops": STOPS}


def version_7():
    """Returns a UUIDv7 (RFC 9562 section 5.7)."""
    random = int.from_bytes(os.urandom(10), "big")
    fixed = int(time.time() * 1000) << 80 | 0x7 << 76 | 0b10 << 62
    return str(uuid.UUID(int=fixed | random >> 68 << 64 | random & (1 << 62) - 1))


class Phone:
    """A client with one connection and one access token."""

    def __init__(self, port, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def request(self, method, path, body=None):
        """Returns the seconds until the whole response arrived, and its body."""
        content = json.dumps(body) if body else None
        begin = time.perf_counter()
        self.connection.request(method, path, content, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        took = time.perf_counter() - begin
        assert response.status == 200, f"{method} {path}: {response.status}"
        return took, json.loads(content)

    def create(self, trip):
        return {"op_id": str(uuid.uuid4()), "op": "create", "id": trip, "trip": TRIP}

    def update(self, trip, version):
        return {"op_id": str(uuid.uuid4()), "op": "update", "id": trip, "base_version": version,
                "trip": {"title": "Eleven days along the coast", "stops": STOPS[:2]}}

    def send(self, operations):
        """Sends the operations, checks that all were applied, and returns the seconds it took."""
        took, response = self.request("POST", "/api/v1/sync", {"operations": operations})
        states = {result["status"] for result in response["results"]}
        assert states == {"applied"}, f"sending: {states}"
        return took

    def read_all(self):
        """Reads all changes; returns the seconds it took and the number of changes."""
        took, count, cursor, more = 0, 0, "", True
        while more:
            seconds, page = self.request("GET", f"/api/v1/sync?limit={SYNC_OPERATIONS}{cursor}")
            took, count = took + seconds, count + len(page["changes"])
            cursor, more = f"&cursor={page['next_cursor']}", page["has_more"]
        return took, count
