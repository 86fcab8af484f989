"""The systems that benches/compare measures: how each is started, filled and called.

Each system has users with 20 trips each, and all users have the same password. PASSWORD is hashed with bcrypt at cost
12. A system starts with the settings of the measurement. With `default=True`, it starts without the settings that
only the measurement needs.
"""

import datetime
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlencode

from seed import multiply, seed
from server import Process, free_port

HERE = Path(__file__).resolve().parent
CORES = len(os.sched_getaffinity(0))
TRIPS_PER_USER = 20
PASSWORD = "violet kettle over the harbour"
TRIP = {"title": "Ten days along the coast", "destination": "Lisbon", "start_date": "2027-05-01",
        "end_date": "2027-05-10", "time_zone": "Europe/Lisbon", "status": "planned", "stops": [],
        "notes": "Trains are booked, the first two nights too."}
FIRST_DAY = datetime.datetime(2026, 6, 1)
FULL = {"journal_mode": "wal", "synchronous": 2}


def call(port, method, path, body=None, token=None, form=False):
    """Sends one request on a new connection; returns the status and the decoded body of the response."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        body = urlencode(body) if form else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    return response.status, json.loads(content) if content else None


def expect(status, response):
    """Returns the body of a response with this status."""
    if response[0] != status:
        raise SystemExit(f"expected status {status}: {response}")
    return response[1]


def install():
    """Installs the systems besides Tripgate into a virtual environment in the cache. Returns the folder of
    its programs."""
    requirements = HERE / "compare_requirements.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = cache / "tripgate-ci" / f"compare-{digest}-{sys.version_info[0]}.{sys.version_info[1]}"
    # The file `complete` marks a finished installation.
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--retries", "10", "--no-deps", "--requirement", requirements], check=True)
        subprocess.run([*pip, "check"], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def created_at(number):
    """Returns the time at which the trip with this number was created: one day after the previous trip of its user."""
    return FIRST_DAY + datetime.timedelta(days=number)


class System:
    """What most systems have in common."""

    def preparing(self):
        """Starts the server that issues tokens, which are valid for longer than all measurements take."""
        return self.start()

    def token(self, grant):
        return grant["access_token"]

    def owner(self, _):
        # The token already identifies the owner.
        return ""

    def body(self, _):
        return TRIP

    def items(self, page):
        return page["items"]

    def sync_each_commit(self, _):
        """Makes a running server sync each COMMIT to the disk, if it does not do this from its start."""

    def pragmas(self, server):
        """Returns the values of PRAGMA that a running server uses for writes, or None if it can't be asked."""
        return expect(200, call(server.port, "GET", "/pragmas"))


class Tripgate(System):
    name = "Tripgate"
    list_path = create_path = "/api/v1/trips"
    created_status, refused_status = 201, 401
    settings = ("logs each request (`info`, its default), has no cache of pages (`TRIPGATE_PAGE_CACHE_BYTES=0`) and no"
                " limits (`TRIPGATE_LIMITS=off`), and stores a session at each login")

    def __init__(self, directory, binary, _):
        self.directory, self.binary = directory, binary
        self.version = output(binary, "--version").split()[1]
        self.versions = f"Tripgate {self.version}"
        # The trips of users with odd numbers have stops. TRIP has none, so use only even numbers.
        self.ids = range(0, 10**9, 2)

    def start(self, default=False, **settings):
        port = free_port()
        if not default:
            quotas = ("TRIPS", "TRIP_BYTES", "IDEMPOTENCY_KEYS", "SYNC_OPERATIONS", "TOMBSTONES")
            settings |= {"LIMITS": "off", "PAGE_CACHE_BYTES": 0, "QUOTA_SESSIONS": 10_000}
            settings |= {f"QUOTA_{name}": 1_000_000_000 for name in quotas}
        settings |= {"LISTEN": f"127.0.0.1:{port}", "PUBLIC_URL": "http://127.0.0.1", "DATA_DIR": self.directory,
                     "BCRYPT_COST": 12, "LOG": "info"}
        environment = {f"TRIPGATE_{name}": str(value) for name, value in settings.items()}
        return Process([self.binary], port, "/health/ready", environment, self.directory)

    def prepare(self, users):
        with self.start() as server:
            body = {"username": "template", "password": PASSWORD}
            expect(201, call(server.port, "POST", "/api/v1/auth/signup", body))
        seed(self.directory / "tripgate.db", users, template="template")

    def preparing(self):
        return self.start(ACCESS_TTL_SECS=86_400)

    def log_in(self, port, number, password=PASSWORD):
        body = {"identifier": f"user{self.ids[number]:05}", "password": password}
        return call(port, "POST", "/api/v1/auth/login", body)

    def pragmas(self, server):
        # Each connection has its own value of PRAGMA synchronous, and no operation of Tripgate returns it.
        # `benches/compare` counts the syncs of all systems with strace.
        return None

    def durability(self):
        mode = output("sqlite3", self.directory / "tripgate.db", "PRAGMA journal_mode")
        return f"journal_mode {mode} (in the file), synchronous FULL (set in src/db/connection_options.rs)"


class PocketBase(System):
    name = "PocketBase"
    list_path = "/api/collections/trips/records?perPage=20&skipTotal=1&sort=-created"
    create_path = "/api/collections/trips/records"
    created_status, refused_status = 200, 400
    settings = ("logs each request to its auxiliary database (its default), lists without the total (`skipTotal=1`),"
                " and stores the origin of each login")

    def __init__(self, directory, _, programs):
        self.directory, self.program = directory, programs / "pocketbase"
        self.version = output(self.program, "--version").split()[-1]
        self.versions = f"PocketBase {self.version}"

    def command(self, *arguments, default=False):
        folders = {"dir": self.directory / "data", "publicDir": self.directory / "none",
                   "migrationsDir": HERE / "compare_pocketbase" / "migrations",
                   # With `default=True`, load no hooks, because they need memory and time at the start.
                   "hooksDir": self.directory / "none" if default else HERE / "compare_pocketbase" / "hooks"}
        return [self.program, *arguments, "--hooksWatch=false", "--automigrate=false",
                *(f"--{name}={folder}" for name, folder in folders.items())]

    def start(self, default=False):
        port = free_port()
        command = self.command("serve", f"--http=127.0.0.1:{port}", default=default)
        return Process(command, port, "/api/health", {}, self.directory)

    def prepare(self, users):
        # Without a superuser, the server opens a browser.
        command = self.command("superuser", "upsert", "root@example.org", PASSWORD)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with self.start() as server:
            body = {"email": "template@example.org", "password": PASSWORD, "passwordConfirm": PASSWORD}
            user = expect(200, call(server.port, "POST", "/api/collections/users/records", body))
            grant = expect(200, call(server.port, "POST", "/api/collections/users/auth-with-password",
                                     {"identity": body["email"], "password": PASSWORD}))
            body = TRIP | {"owner": user["id"]}
            expect(200, call(server.port, "POST", self.create_path, body, self.token(grant)))
        database = self.directory / "data" / "data.db"
        multiply(database, "users", ({"id": self.user(number), "email": f"user{number:05}@example.org",
                                      "tokenKey": f"{number:050}"} for number in range(users)))
        times = [f"{created_at(turn):%F %T}.{turn:03}Z" for turn in range(TRIPS_PER_USER)]
        multiply(database, "trips", ({"id": f"t{number:08}x{turn:05}", "owner": self.user(number), "created": at,
                                      "updated": at, "title": f"Trip {turn + 1} along the coast"}
                                     for turn, at in enumerate(times) for number in range(users)))

    def user(self, number):
        return f"user{number:011}"

    def log_in(self, port, number, password=PASSWORD):
        body = {"identity": f"user{number:05}@example.org", "password": password}
        return call(port, "POST", "/api/collections/users/auth-with-password", body)

    def token(self, grant):
        return grant["token"]

    def owner(self, grant):
        return grant["record"]["id"]

    def body(self, owner):
        return TRIP | {"owner": owner}

    def sync_each_commit(self, server):
        expect(204, call(server.port, "POST", "/pragmas"))

    def durability(self):
        return ("journal_mode WAL, synchronous FULL (asked on the connection of all writes, before and after each"
                " measurement; its default is NORMAL, which does not sync each COMMIT)")


class FastApiUsers(System):
    name = "fastapi-users"
    list_path, create_path = "/trips?limit=20", "/trips"
    created_status, refused_status = 201, 400
    settings = f"uvicorn with {CORES} workers, which log each request (its default); a login stores nothing"

    def __init__(self, directory, _, programs):
        self.directory, self.programs = directory, programs
        names = ("fastapi-users", "fastapi", "uvicorn", "SQLAlchemy", "aiosqlite", "bcrypt")
        script = f"import importlib.metadata as m; print(*(m.version(name) for name in {names}))"
        versions = output(programs / "python", "-c", script).split()
        self.version = versions[0]
        python = output(programs / "python", "--version")
        self.versions = ", ".join(f"{name} {version}" for name, version in zip(names, versions)) + f", {python}"
        # Write no __pycache__ beside the app.
        self.environment = {"COMPARE_DATABASE": str(directory / "app.db"), "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, default=False):
        port = free_port()
        command = [self.programs / "uvicorn", "app:app", "--app-dir", HERE / "compare_fastapi", "--port", str(port),
                   "--workers", str(CORES)]
        return Process(command, port, "/health", self.environment, self.directory)

    def prepare(self, users):
        subprocess.run([self.programs / "python", HERE / "compare_fastapi" / "app.py"], check=True,
                       env=os.environ | self.environment)
        with self.start() as server:
            body = {"email": "template@example.org", "password": PASSWORD}
            expect(201, call(server.port, "POST", "/auth/register", body))
            login = {"username": body["email"], "password": PASSWORD}
            grant = expect(200, call(server.port, "POST", "/auth/jwt/login", login, form=True))
            expect(201, call(server.port, "POST", self.create_path, TRIP, self.token(grant)))
        database = self.directory / "app.db"
        ids = [str(uuid.uuid4()) for _ in range(users)]
        multiply(database, "user", ({"id": user, "email": f"user{number:05}@example.org"}
                                    for number, user in enumerate(ids)))
        times = [f"{created_at(turn):%F %T}.{turn:06}" for turn in range(TRIPS_PER_USER)]
        multiply(database, "trips", ({"id": uuid.uuid4().hex, "owner_id": user, "created_at": at, "updated_at": at,
                                      "title": f"Trip {turn + 1} along the coast"}
                                     for turn, at in enumerate(times) for user in ids))

    def log_in(self, port, number, password=PASSWORD):
        body = {"username": f"user{number:05}@example.org", "password": password}
        return call(port, "POST", "/auth/jwt/login", body, form=True)

    def items(self, page):
        return page

    def durability(self):
        return "journal_mode WAL, synchronous FULL (asked on a connection, before and after each measurement)"


SYSTEMS = {"tripgate": Tripgate, "pocketbase": PocketBase, "fastapi-users": FastApiUsers}
