"""Measures the cost of a backup of a large database during writes, a restore, and the cost of scraped metrics."""

import os
import shutil
import statistics
import subprocess
import threading
import time

from report import note, row
from server import exchange, free_port

TRIPS, SESSION = "/api/v1/trips", "/api/v1/auth/session"


def backups(bench):
    """Compares the writes of 64 clients with and without a backup at the same time."""
    data, target = bench.directory / "backed-up", bench.directory / "backups"
    shutil.copytree(bench.large, data)
    os.sync()
    size = (data / "tripgate.db").stat().st_size / 1e6
    quiet, busy, seconds = [], [], []
    with bench.server(data) as server:
        for _ in range(bench.options.rounds):
            quiet.append(bench.load(server, [TRIPS], bench.options.seconds, "POST"))
            began, took = time.perf_counter(), []
            command = [bench.tripgate, "backup", "create", "--data-dir", data, "--backup-dir", target]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as backup:
                waiting = threading.Thread(target=lambda: took.append(backup.wait() or time.perf_counter() - began))
                waiting.start()
                while waiting.is_alive():
                    busy.append(bench.load(server, [TRIPS], bench.options.seconds, "POST"))
                waiting.join()
            assert backup.returncode == 0, backup.returncode
            seconds += took
    rates, p99s = ([statistics.median(result[key] for result in results) for results in (quiet, busy)]
                   for key in ("per_second", "p99_ms"))
    note(f"A backup of {size:,.0f} MB took {statistics.median(seconds):.1f} s, during the writes of 64 clients.")
    row(f"`POST {TRIPS}` from 64 clients during a backup of {size:,.0f} MB",
        f"{rates[1]:,.0f}/s, {rates[1] / rates[0]:.2f} of the rate without", "at least 0.85", rates[1] >= 0.85 * rates[0])
    row("the same, p99 latency", f"{p99s[1]:.0f} ms ({p99s[0]:.0f} ms without)", "at most 60 ms", p99s[1] <= 60)


def restore(bench):
    """Restores a backup of the large database, and copies the database with a sync to the disk, for comparison."""
    data, target = bench.directory / "restored", bench.directory / "backups-to-restore"
    database = bench.large / "tripgate.db"
    shutil.copytree(bench.large, data)
    size = database.stat().st_size / 1e6
    backup = [bench.tripgate, "backup"]
    directories = ["--data-dir", data, "--backup-dir", target]

    def timed(*command):
        os.sync()
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    timed(*backup, "create", *directories)
    file, = target.glob("*.backup")
    restored, copied = [], []
    for _ in range(bench.options.rounds):
        restored.append(timed(*backup, "restore", file, "--yes", *directories))
        copied.append(timed("dd", f"if={database}", f"of={data / 'copy'}", "bs=1M", "conv=fsync"))
    restored, copied = statistics.median(restored), statistics.median(copied)
    note(f"A restore of {size:,.0f} MB took {restored:.1f} s, and a copy with a sync to the disk {copied:.1f} s.")
    # Common disks of cloud providers write 125 MB/s.
    row(f"`tripgate backup restore` of {size:,.0f} MB", f"{size / restored:,.0f} MB/s", "at least 125 MB/s",
        size / restored >= 125)


def metrics(bench):
    """Compares requests with and without a listener for metrics that is scraped each second."""
    port, rates, done = free_port(), {"without": [], "with": []}, threading.Event()

    def scrape():
        while not done.wait(1):
            status, _ = exchange(port, "GET", "/metrics")
            assert status == 200, status

    copy = bench.directory / "scraped"
    shutil.copytree(bench.small, copy)
    with bench.server(bench.small) as without, bench.server(copy, metrics_listen=f"127.0.0.1:{port}") as scraped:
        scraper = threading.Thread(target=scrape)
        scraper.start()
        for turn in range(2 * bench.options.rounds + 1):
            for kind, server in (("without", without), ("with", scraped)):
                result = bench.load(server, [SESSION], bench.options.seconds if turn else 2)
                if turn:
                    rates[kind].append(result["per_second"])
        done.set()
        scraper.join()
    without, scraped = (statistics.median(rates[kind]) for kind in rates)
    row(f"`GET {SESSION}` while the metrics are scraped each second", f"{scraped / without:.2f} of the rate without",
        "at least 0.98", scraped >= 0.98 * without)
