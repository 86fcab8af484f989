"""Measures logins."""

import selectors
import socket
import threading
import time

from report import note, row
from server import exchange, request

LOGIN = {"identifier": "login", "password": "violet kettle over the harbour"}


class Logins:
    """Runs `clients` clients that log in repeatedly, for the duration of a `with` block. `log_in` gets the number of the
    client, and returns the status of the response."""

    def __init__(self, port, clients, log_in=None):
        self.done, self.failed, self.stop = [], [], threading.Event()
        self.log_in = log_in or (lambda _: exchange(port, "POST", "/api/v1/auth/login", LOGIN)[0])
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)]

    def client(self, number):
        while not self.stop.is_set():
            status = self.log_in(number)
            if status == 200:
                self.done.append(time.perf_counter())
            elif status == 503:
                self.stop.wait(1)
            else:
                self.failed.append(status)
                return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        # Responses after this time are awaited, but not counted.
        self.until = time.perf_counter()
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.failed:
            raise SystemExit(f"logging in: {self.failed}")

    def per_second(self):
        counted = sorted(at for at in self.done if at <= self.until)
        return (len(counted) - 1) / (counted[-1] - counted[0])


def burst(port, clients=500, wait_secs=5):
    """Sends many logins at once. Measures how soon the rejected logins get 503 and how long the other logins
    wait."""
    ready, left = selectors.DefaultSelector(), clients
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        ready.register(connection, selectors.EVENT_READ, [None])
    time.sleep(0.5)
    for key in list(ready.get_map().values()):
        key.data[0] = time.perf_counter()
        key.fileobj.sendall(request("POST", "/api/v1/auth/login", LOGIN))
    accepted, rejected = [], []
    while left:
        for key, _ in ready.select(timeout=60):
            took = time.perf_counter() - key.data[0]
            head = key.fileobj.recv(65536).lower()
            ready.unregister(key.fileobj)
            key.fileobj.close()
            left -= 1
            if head.startswith(b"http/1.1 503") and b"\r\nretry-after: " in head:
                rejected.append(took)
            elif head.startswith(b"http/1.1 200"):
                accepted.append(took)
            else:
                raise SystemExit(f"logging in: {head[:200]!r}")
    last, longest = max(rejected, default=0), max(accepted, default=0)
    note(f"Of {clients} simultaneous logins, {len(accepted)} were accepted and {len(rejected)} rejected.")
    row(f"{clients} simultaneous logins: time of the last 503 with `Retry-After`", f"{last * 1000:.0f} ms",
        "at most 100 ms", last <= 0.1)
    row("the same: longest wait of an accepted login", f"{longest:.1f} s",
        f"at most {wait_secs * 1.3:.1f} s", longest <= wait_secs * 1.3)
