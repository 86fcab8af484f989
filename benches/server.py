"""Runs servers under test and sends single requests."""

import json
import os
import signal
import socket
import subprocess
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def full_exchange(port, method, path, body=None, headers=None):
    """Sends one request on a new connection; returns the status, the headers and the body of the response."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request(method, path, body, close=True, headers=headers))
        response = b""
        while part := connection.recv(65536):
            response += part
    head, _, content = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return int(status.split(" ", 2)[1]), {name.lower(): value for name, value in fields.items()}, content


def exchange(port, method, path, body=None, headers=None):
    """Sends one request on a new connection; returns the status and the body of the response."""
    status, _, content = full_exchange(port, method, path, body, headers)
    return status, content


def request(method, path, body, close=False, headers=None):
    lines, content = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"], b""
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        content = json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines + ["", ""]).encode() + content


class Process:
    """A server process, for the duration of a `with` block."""

    def __init__(self, command, port, path, environment, directory):
        self.port, self.path, self.started = port, path, time.perf_counter()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TRIPGATE_")}
        with open(directory / "log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=directory, env=clean | environment,
                                            stdout=subprocess.DEVNULL, stderr=log)

    def __enter__(self):
        while True:
            try:
                if exchange(self.port, "GET", self.path)[0] == 200:
                    self.ready = time.perf_counter() - self.started
                    return self
            except OSError:
                if self.process.poll() is not None or time.perf_counter() - self.started > 30:
                    raise SystemExit(f"{self.process.args[0]} did not start")
                time.sleep(0.0005)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
