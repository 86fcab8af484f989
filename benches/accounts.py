"""Measures operations on accounts: the throttle, requests that send mail, the outbox, the import of users,
personal tokens, passkeys and the second factor."""

import base64
import hashlib
import hmac
import json
import random
import socketserver
import statistics
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import wrk
from report import note, row
from server import exchange

PASSWORD = "violet kettle over the harbour"
PREFIX = "/api/v1/auth"
PAIRS, LOGINS, MAILS, IMPORTED = 1_000, 300, 300, 10_000
# A bcrypt hash of cost 10. The import stores this hash, and computes no hashes.
HASH = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"


def sign_up(port, **body):
    status, content = exchange(port, "POST", f"{PREFIX}/signup", body | {"password": PASSWORD})
    assert status == 201, (status, content)
    return json.loads(content)["access_token"]


def call(port, method, path, token, body=None, expected=200):
    status, content = exchange(port, method, path, body, {"Authorization": f"Bearer {token}"})
    assert status == expected, (path, status, content)
    return json.loads(content or b"null")


def refused_logins(bench, load):
    """Measures about 5,000 login attempts per second against a throttled account, and at the same time the
    reads of another account."""
    with bench.server(bench.directory / "throttle", limits="on", bcrypt_cost=4) as server:
        sign_up(server.port, username="victim")
        reader = bench.directory / "tokens-reader"
        reader.write_text(sign_up(server.port, username="reader") + "\n", encoding="ascii")

        def read():
            return load(server, ["/api/v1/trips"], bench.options.seconds, tokens=reader, clients=1, pause=2)

        for _ in range(20):
            exchange(server.port, "POST", f"{PREFIX}/login", {"identifier": "victim", "password": "not the password"})
        quiet = read()
        attack = wrk.start("blocked.lua", server.port, ["victim", 1], bench.options.seconds + 1, clients=8, threads=1)
        time.sleep(0.5)
        busy = read()
        result = wrk.result(attack)
    assert not result["failed"], result
    row("`POST /api/v1/auth/login` of a throttled account: 429, median and rate",
        f"{result['p50_ms']:.2f} ms at {result['per_second']:,.0f}/s", "under 2 ms at 5,000/s",
        result["p50_ms"] < 2 and result["per_second"] >= 5000)
    ratio = busy["p99_ms"] / quiet["p99_ms"]
    row("`GET /api/v1/trips` of another user meanwhile, p99 latency",
        f"{busy['p99_ms']:.1f} ms ({quiet['p99_ms']:.1f} ms without)", "at most twice", ratio <= 2)


def cost_of_throttle(bench):
    """Compares successful logins with and without the throttle. No attempt has failed before."""
    times = {"on": [], "off": []}
    with (bench.server(bench.directory / "throttled", limits="on", bcrypt_cost=4) as throttled,
          bench.server(bench.directory / "unthrottled", bcrypt_cost=4) as unthrottled):
        servers = {"on": throttled, "off": unthrottled}
        for server in servers.values():
            sign_up(server.port, username="ada")
        for _ in range(LOGINS):
            for kind, server in servers.items():
                began = time.perf_counter()
                status, content = exchange(server.port, "POST", f"{PREFIX}/login", {"identifier": "ada", "password": PASSWORD})
                times[kind].append((time.perf_counter() - began) * 1000)
                assert status == 200, (status, content)
    throttled, unthrottled = (statistics.median(times[kind]) for kind in ("on", "off"))
    row("cost of the throttle for a successful login, difference of medians",
        f"{throttled - unthrottled:.2f} ms of {throttled:.1f} ms", "under 1 ms", throttled - unthrottled < 1)


def mailed_requests(bench):
    """Compares the durations of requests for emails to known and to unknown addresses, in random order."""
    with bench.server(bench.directory / "mailed", bcrypt_cost=4) as server:
        for number in range(PAIRS):
            sign_up(server.port, email=f"known{number}@example.org")
        # Wait until the server has written the mails of the sign-ups to files.
        time.sleep(5)
        for path in (f"{PREFIX}/password/forgot", f"{PREFIX}/email/resend"):
            compare_addresses(server.port, path)


def compare_addresses(port, path):
    times = {"known": [], "unknown": []}
    requests = [(kind, f"{kind}{number}@example.org") for number in range(PAIRS) for kind in times]
    random.shuffle(requests)
    for kind, address in requests:
        began = time.perf_counter()
        status, content = exchange(port, "POST", path, {"email": address})
        times[kind].append((time.perf_counter() - began) * 1000)
        assert status == 202, (status, content)
    known, unknown = (statistics.median(times[kind]) for kind in ("known", "unknown"))
    row(f"`POST {path}`, median latency", f"{known:.1f} ms", "under 10 ms", known < 10)
    row("the same: difference between known and unknown addresses", f"{abs(known - unknown):.2f} ms", "at most 0.5 ms",
        abs(known - unknown) <= 0.5)
    area = sum((k > u) + (k == u) / 2 for k in times["known"] for u in times["unknown"]) / PAIRS ** 2
    row("the same: probability that a known address takes longer", f"{area:.2f}", "0.45 to 0.55", 0.45 <= area <= 0.55)


class Smtp(socketserver.StreamRequestHandler):
    """A mail server that accepts every mail."""

    mails, connections = [], []

    def handle(self):
        self.connections.append(1)
        self.wfile.write(b"220 mail\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.mails.append(time.perf_counter())
            self.wfile.write(b"250 ok\r\n")


def outbox(bench):
    """Measures how fast the outbox sends the mails of sign-ups."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as smtp:
        threading.Thread(target=smtp.serve_forever, daemon=True).start()
        url = f"smtp+plain://127.0.0.1:{smtp.server_address[1]}"
        with bench.server(bench.directory / "outbox", bcrypt_cost=4, smtp_url=url, mail_from="trips@example.org") as server:
            began = time.perf_counter()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: sign_up(server.port, email=f"user{number}@example.org"), range(MAILS)))
            while len(Smtp.mails) < MAILS and time.perf_counter() - began < 60:
                time.sleep(0.01)
        assert len(Smtp.mails) == MAILS, len(Smtp.mails)
        smtp.shutdown()
    rate = MAILS / (Smtp.mails[-1] - began)
    row("mails sent to a local mail server", f"{rate:,.0f}/s", "at least 50/s", rate >= 50)
    note(f"{MAILS} mails over {len(Smtp.connections)} connections.")


def import_users(bench):
    """Measures the import of users from another system, beside a running server."""
    data, file = bench.directory / "imported", bench.directory / "users.csv"
    users = (f"user{number}@example.org,user{number},{HASH}" for number in range(IMPORTED))
    file.write_text("\n".join(["email,username,password_hash", *users, ""]), encoding="ascii")
    with bench.server(data):
        began = time.perf_counter()
        subprocess.run([bench.tripgate, "users", "import", file, "--data-dir", data], check=True, capture_output=True)
        took = time.perf_counter() - began
    row(f"`tripgate users import` of {IMPORTED:,} users", f"{took:.1f} s", "under 10 s", took < 10)


def personal_tokens(bench, load):
    """Compares requests with a personal token and with an access token."""
    with bench.server(bench.directory / "personal", bcrypt_cost=4) as server:
        access = sign_up(server.port, username="ada")
        personal = call(server.port, "POST", "/api/v1/me/tokens", access,
                        {"name": "bench", "scope": "trips:read"}, 201)["token"]
        rates = {access: [], personal: []}
        file = bench.directory / "tokens-personal"
        for turn in range(bench.options.rounds + 1):
            for token, found in rates.items():
                file.write_text(token + "\n", encoding="ascii")
                result = load(server, ["/api/v1/trips"], bench.options.seconds if turn else 2, tokens=file)
                if turn:
                    found.append(result["per_second"])
    ratio = statistics.median(rates[personal]) / statistics.median(rates[access])
    row("`GET /api/v1/trips` with a personal token, relative to an access token", f"{ratio:.2f} times", "at least 0.90",
        ratio >= 0.9)


def passkey_logins(bench):
    """Measures logins with a passkey, from 32 devices."""
    with bench.server(bench.directory / "passkeys", bcrypt_cost=4, public_url="http://localhost") as server:
        file = bench.directory / "tokens-passkeys"
        file.write_text("".join(sign_up(server.port, username=f"device{number}") + "\n" for number in range(32)), encoding="ascii")
        results = [bench.measure("passkeys", server.port, "http://localhost", file, bench.options.seconds)
                   for _ in range(bench.options.rounds)]
    rate, p99 = (statistics.median(result[key] for result in results) for key in ("per_second", "p99_ms"))
    row("logins with a passkey: options, signature and login", f"{rate:,.0f}/s, p99 {p99:.0f} ms", "at least 1,000/s", rate >= 1000)


def second_factor(bench):
    """Measures the time that a second factor adds to a login."""
    with bench.server(bench.directory / "factor", bcrypt_cost=4) as server:
        token = sign_up(server.port, username="ada")
        enrolment = call(server.port, "POST", "/api/v1/me/totp", token)
        key = base64.b32decode(enrolment["secret"] + "=" * (-len(enrolment["secret"]) % 8))
        digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1)
        at = digest[-1] & 15
        code = f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"
        codes = call(server.port, "POST", "/api/v1/me/totp/confirm", token, {"code": code})["recovery_codes"]
        times = []
        for code in codes:
            status, content = exchange(server.port, "POST", f"{PREFIX}/login", {"identifier": "ada", "password": PASSWORD})
            body = {"mfa_token": json.loads(content)["mfa_token"], "recovery_code": code}
            began = time.perf_counter()
            status, content = exchange(server.port, "POST", f"{PREFIX}/login/mfa", body)
            times.append((time.perf_counter() - began) * 1000)
            assert status == 200, (status, content)
    median = statistics.median(times)
    row("`POST /api/v1/auth/login/mfa`, median latency", f"{median:.1f} ms", "under 2 ms", median < 2)
