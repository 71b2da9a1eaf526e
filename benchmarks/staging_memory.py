"""How much a ``wlmctl copy`` grows with what it copies."""

from __future__ import annotations

import argparse

from benchmarks.figures import Report
from benchmarks.staging_site import DIRECTIONS, TRANSPORTS, Site

MIB = 1 << 20


def memory(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """How much the process grows with the size of what it relays."""
    report.title(f"Memory of a relay of {settings.relay_bytes >> 20:,} MiB")
    sizes = {"one": MIB, "large": settings.relay_bytes}
    for name, size_bytes in sizes.items():
        with (site.base("alpha") / name).open("wb") as file:
            file.truncate(size_bytes)
    rows = []
    for pair in [f"{one}-{other}" for one in TRANSPORTS for other in TRANSPORTS]:
        grown = _grown(report, site, pair, "alpha", "beta", f"memory of a relay, {pair}", 64)
        rows.append((pair, *grown))
    report.table(("", "MiB with 1 MiB", "MiB with all of it"), rows)
    for name in sizes:
        (site.base("alpha") / name).unlink()


def tree(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """How much the process grows with the number of files."""
    report.title(f"Memory of a tree of {settings.tree_count:,} files")
    site.add_folder("one", 1)
    site.add_folder("large", settings.tree_count)
    rows = []
    for direction, ends in DIRECTIONS.items():
        for name in TRANSPORTS:
            grown = _grown(report, site, f"{name}-sftp", *ends, f"memory of a tree, {direction}, {name}", 150)
            rows.append((direction, name, *grown))
    report.table(("", "", "MiB with 1 file", "MiB with all of them"), rows)
    site.remove("one")
    site.remove("large")


def _grown(
    report: Report, site: Site, transports: str, source: str, target: str, what: str, limit: float
) -> tuple[str, ...]:
    peaks = []
    for name in ("one", "large"):
        with site.course(name, source, target) as course:
            peaks.append(site.wlmctl(transports)(course).peak_bytes / MIB)
    report.promise(f"{what}, grown by", peaks[1] - peaks[0], limit, unit="MiB")
    return tuple(f"{peak:.0f}" for peak in peaks)
