"""Measures the cache of pages."""

import statistics

from report import note, row

TRIPS = "/api/v1/trips"
# The default of the server.
DEFAULT_BYTES = 32 * 1024 * 1024
# A cache of this size stores no page, because each page takes more than a tenth of this size.
TOO_SMALL_BYTES = 40_000


def repeated_lists(bench, tokens):
    """Reads the same lists repeatedly: with and without the cache, and with a cache that stores no page."""
    sizes = {"hello": None, "off": 0, "cached": DEFAULT_BYTES, "missed": TOO_SMALL_BYTES}
    rates = {kind: [] for kind in sizes}
    for _ in range(bench.options.rounds):
        for kind, size in sizes.items():
            # A data directory belongs to one server at a time.
            with bench.hello() if size is None else bench.server(bench.large, page_cache_bytes=size) as server:
                path = "/" if size is None else TRIPS
                bench.load(server, [path], 1, tokens=tokens)
                rates[kind].append(bench.load(server, [path], bench.options.seconds, tokens=tokens)["per_second"])
    hello, off, cached, missed = (statistics.median(rates[kind]) for kind in sizes)
    note(f"The same lists a second: without the cache {off:.0f}, from the cache {cached:.0f}, with a cache that stores"
         f" none {missed:.0f}; hello-world {hello:.0f}.")
    row(f"`GET {TRIPS}`: the same page again, unchanged, from the cache",
        f"{cached:,.0f}/s, {cached / hello:.2f} of hello-world", "at least 0.45", cached / hello >= 0.45)
    row("the same page, not in the cache, relative to no cache", f"{missed / off:.2f} of the rate",
        "at least 0.95", missed / off >= 0.95)
