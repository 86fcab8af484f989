"""Sends requests and classifies their outcomes.

`done`: 2xx. `refused`: 4xx, nothing was changed. `not_done`: the server says that nothing was changed (503 with
any code other than `outcome_unknown`, and 507), or no replica accepted the connection. `unknown`: the connection
broke, the response did not arrive in time, or the response is 503 `outcome_unknown`.
"""

import copy
import http.client
import json
import os
import random
import time
import uuid
from dataclasses import dataclass, field

DONE, REFUSED, NOT_DONE, UNKNOWN = "done", "refused", "not_done", "unknown"
# A response with one of these codes means that nothing was changed.
CODES_OF_503 = {"busy", "database_unavailable", "overloaded", "shutting_down", "search_timeout"}
# The server answers every request within 10 seconds. The other 5 seconds are a margin for a busy machine.
RESPONSE_SECS = 15


@dataclass
class Reply:
    """The outcome of one request."""

    outcome: str
    status: int = 0
    body: dict = field(default_factory=dict)
    etag: str = ""
    replica: int = -1
    detail: str = ""
    # The start and the end of the request, in seconds of the journal.
    times: tuple = (0, 0)

    @property
    def is_done(self):
        return self.outcome == DONE

    def __str__(self):
        shown = json.dumps(self.body)[:300] if self.status >= 400 else ""
        return f"{self.outcome} {self.status} {self.detail}{shown} from replica {self.replica}"


class AccessToken(str):
    """An access token, and by how much the clock of the replica that issued it was wrong."""

    def __new__(cls, text, shifts):
        token = super().__new__(cls, text)
        token.shifts = shifts
        # Whether a replica has refused the token, and whether its session was ended.
        token.is_refused, token.is_ended = False, False
        return token


def version_7():
    """Returns a new UUID of version 7."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=number & ~(3 << 62) | 2 << 62))


class Client:
    """Sends the requests of one user from one loopback address; each goes to a random replica."""

    def __init__(self, replicas, journal, address, seed, timeout=RESPONSE_SECS):
        self.replicas = replicas
        self.journal, self.address, self.timeout = journal, address, timeout
        self.random = random.Random(seed)
        self.allows_full_disk = False

    def from_address(self, address):
        """Returns a client that sends from another loopback address."""
        other = copy.copy(self)
        other.address = address
        return other

    def call(self, operation, method, path, body=None, token=None, headers=None, replica=None):
        """Sends a request. Tries another replica if one refuses the connection. Counts the outcome."""
        count = len(self.replicas)
        order = [replica] if replica is not None else self.random.sample(range(count), count)
        reply = Reply(NOT_DONE, detail="connection refused")
        for number in order:
            if self.replicas[number].is_out:
                continue
            started = self.journal.now()
            connection = self.connect(number)
            if connection is None:
                continue
            reply = self.exchange(connection, number, method, path, body, token, headers)
            reply.times = started, self.journal.now()
            self.check(operation, method, reply, self.journal.now() - started)
            if reply.status == 401 and token:
                self.check_refusal(operation, reply, token)
            if reply.is_done and method in ("POST", "PUT", "PATCH", "DELETE"):
                self.journal.wrote(self.replicas[number].number, *reply.times)
            break
        label = reply.outcome
        if reply.status >= 400:
            label = f"{reply.status} {reply.body.get('code', '')}".strip()
        elif not reply.status:
            label = f"{reply.outcome}: {reply.detail}"
        self.journal.count(operation, label)
        return reply

    def with_access_token(self, reply):
        """Returns the token grant of a response. The access token records how wrong the replica's clock was."""
        shifts = self.replicas[reply.replica].clock.shifts(*reply.times)
        return reply.body | {"access_token": AccessToken(reply.body["access_token"], shifts)}

    def connect(self, number):
        """Returns a new connection, or None if the replica refuses the connection: nothing was sent then."""
        connection = http.client.HTTPConnection("127.0.0.1", self.replicas[number].port, timeout=self.timeout,
                                                source_address=(self.address, 0))
        try:
            connection.connect()
        except OSError:
            return None
        return connection

    def send(self, connection, method, path, body, token, headers):
        fields = dict(headers or {})
        if token:
            fields["Authorization"] = f"Bearer {token}"
        content = None
        if body is not None:
            content = json.dumps(body)
            fields["Content-Type"] = "application/json"
        connection.request(method, f"/api/v1{path}", content, fields)

    def exchange(self, connection, number, method, path, body, token, headers):
        try:
            self.send(connection, method, path, body, token, headers)
            response = connection.getresponse()
            content = response.read()
        except TimeoutError:
            return Reply(UNKNOWN, detail="timeout", replica=number)
        except (OSError, http.client.HTTPException):
            return Reply(UNKNOWN, detail="connection broken", replica=number)
        finally:
            connection.close()
        # HAProxy's own responses are HTML.
        is_json = "json" in response.headers.get("Content-Type", "")
        parsed = json.loads(content) if content and is_json else {}
        return Reply(classify(response.status, parsed), response.status, parsed,
                     response.headers.get("ETag", ""), number)

    def send_and_drop(self, operation, method, path, body):
        """Sends a request and closes the connection without reading the response."""
        number = self.random.randrange(len(self.replicas))
        connection = None if self.replicas[number].is_out else self.connect(number)
        if connection is None:
            return
        try:
            self.send(connection, method, path, body, None, None)
            # Sometimes the server has not read the request when the connection closes.
            time.sleep(self.random.choice([0, 0.01, 0.05]))
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        self.journal.count(operation, "response dropped")

    def check_refusal(self, operation, reply, token):
        """Checks that a refused token belongs to an ended session, or was issued by a replica with another clock.

        A wrong clock differs by an hour, which is longer than the lifetime of the token. The client must then
        refresh the token.
        """
        token.is_refused, reply.outcome = True, NOT_DONE
        differs = len(token.shifts | self.replicas[reply.replica].clock.shifts(*reply.times)) > 1
        self.journal.expect("an access token is refused only by a replica with another clock",
                            token.is_ended or differs, lambda: f"{operation}: {reply}")

    def check(self, operation, method, reply, seconds):
        """Checks what holds for every response."""
        code = reply.body.get("code") if isinstance(reply.body, dict) else None
        is_documented = (
            reply.status < 500
            or reply.status == 503 and code in CODES_OF_503 | {"outcome_unknown"}
            or reply.status in (502, 503, 504) and self.replicas[reply.replica].is_proxy and not reply.body
            or reply.status == 507 and code == "storage_full" and self.allows_full_disk
        )
        self.journal.expect("no 5xx except 503 with a documented code", is_documented,
                            lambda: f"{operation} {method}: {reply}")
        if reply.detail != "connection broken":
            self.journal.expect("a response arrives in time", seconds < RESPONSE_SECS or self.timeout < RESPONSE_SECS,
                                lambda: f"{operation} took {seconds:.1f} s: {reply}")


def classify(status, body):
    if status < 400:
        return DONE
    if status < 500:
        return REFUSED
    if status == 503 and body.get("code") in CODES_OF_503 or status == 507:
        return NOT_DONE
    return UNKNOWN
