"""Staging beside OpenSSH and rsync: large files, small ones, between machines, verified, over a long line, in memory.

    python -m benchmarks.staging [--quick] [--runs N] [--long] [--folder /dev/shm] [--only PART]

PART is one of large, small, pooled, across, sha256, memory, tree, commands, delay. The machines are sshd processes of
this host; every way speaks AES-GCM. Each run of a way goes to a new place, and what has arrived is compared by size.
"processor s" is what both sides have used together. With --long 10 GiB are relayed instead of 1 (sparse at their
source, real at their target: give a --folder with room) and the long line carries 1,000 files instead of 100.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from benchmarks import options
from benchmarks.figures import Report, Spread, ratio
from benchmarks.staging_memory import memory, tree
from benchmarks.staging_site import DIRECTIONS, TRANSPORTS, Found, Site, Tools, Way, in_turn, open_site
from tests.services.sshd import is_available
from wlmctl.machine import Machine
from wlmctl.plugins import transport_factory
from wlmctl.transfer import Place, Source, Spot, Verify, copy, plan
from wlmctl.transport import Digests, Runs, Transport

MIB = 1 << 20
ROUND_TRIP_S = 0.05
Measured = Mapping[str, Callable[[], tuple[float, float]]]


def compare(report: Report, rows: Mapping[str, Measured], runs: int, unit: str, amount: float) -> dict[str, Spread]:
    """One table: each group of ways beside the first of its group. Seconds by ``group, way``."""
    table, seconds = [], dict[str, Spread]()
    for group, measured in rows.items():
        found = in_turn(runs, measured)
        peer = next(iter(found.values())).wall
        for name, each in found.items():
            seconds[f"{group}, {name}"] = each.wall
            table.append((group, name, *_cells(each, peer, amount)))
    report.table(("", "", "s", unit, "processor s", "x the first"), table)
    return seconds


def _cells(found: Found, peer: Spread, amount: float) -> tuple[str, ...]:
    rate = Spread([amount / value for value in found.wall.values])
    return found.wall.text(), rate.text("{:.0f}"), found.cpu.text(), ratio(peer, found.wall).text()


def promised(report: Report, seconds: Mapping[str, Spread], way: str, peer: str, limit: float) -> None:
    """``way`` is at least ``limit`` times as fast as ``peer``."""
    report.promise(f"{way}, beside {peer}", ratio(seconds[peer], seconds[way]).median, limit, at_least=True)


def large(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """One large file up and down."""
    megabytes = site.add_file("large", settings.large_bytes)
    report.title(f"One file of {settings.large_bytes >> 20:,} MiB, whole processes")
    ways: dict[str, Way] = {"sftp": site.tools.sftp, "scp": site.tools.scp}
    ways |= {f"wlmctl, {name}": site.wlmctl(f"{name}-sftp") for name in TRANSPORTS}
    seconds = compare(report, _both(site, "large", ways), settings.runs, "MB/s", megabytes)
    for direction, name, limit in (("down", "sftp", 1.0), ("up", "sftp", 0.75), ("up", "scp", 0.9)):
        promised(report, seconds, f"{direction}, wlmctl, {name}", f"{direction}, sftp", limit)
    site.remove("large")


def _both(site: Site, what: str, ways: Mapping[str, Way]) -> dict[str, Measured]:
    return {
        direction: {name: partial(site.taken, what, *ends, way) for name, way in ways.items()}
        for direction, ends in DIRECTIONS.items()
    }


def small(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """A folder of small files, whole processes."""
    count = site.add_folder("small", settings.small_count)
    report.title(f"{count:,.0f} files of 4 KiB, whole processes")
    ways: dict[str, Way] = {
        "scp -r": site.tools.scp,
        "scp -O -r": lambda course: site.tools.scp(course, "-O"),
        "rsync": site.tools.rsync,
        **{f"wlmctl, {name}": site.wlmctl(f"{name}-sftp") for name in TRANSPORTS},
    }
    seconds = compare(report, _both(site, "small", ways), settings.runs, "files/s", count)
    for direction in DIRECTIONS:
        for name in TRANSPORTS:
            for peer, limit in (("scp -r", 3.0), ("scp -O -r", 1.8)):
                promised(report, seconds, f"{direction}, wlmctl, {name}", f"{direction}, {peer}", limit)
    site.remove("small")


def connected(site: Site, transport: str, machine: str = "alpha") -> Transport:
    """An open connection of this process."""
    os.environ["WLMCTL_SSH_CONFIG"] = str(site.ssh_config)
    return transport_factory(transport)(Machine(machine, host=machine, transport=transport), {})


def pooled(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """The same folder over a connection that is open already."""
    count = site.add_folder("small", settings.small_count)
    report.title(f"{count:,.0f} files of 4 KiB, over an open connection")
    with connected(site, "sftp") as sftp, connected(site, "scp") as scp:
        rows: dict[str, Measured] = {}
        for direction, ends in DIRECTIONS.items():
            row: dict[str, Callable[[], tuple[float, float]]] = {
                "scp -r": partial(site.taken, "small", *ends, site.tools.scp)
            }
            for name, remote in (("sftp", sftp), ("scp", scp)):
                row[f"wlmctl, {name}"] = partial(_copied_here, site, "small", *ends, remote)
            rows[direction] = row
        seconds = compare(report, rows, settings.runs, "files/s", count)
    for direction in DIRECTIONS:
        for name in TRANSPORTS:
            promised(report, seconds, f"{direction}, wlmctl, {name}", f"{direction}, scp -r", 5.0)
    site.remove("small")


def _copied_here(site: Site, what: str, source: str, target: str, remote: Transport) -> tuple[float, float]:
    with transport_factory("local")(Machine("local", transport="local"), {}) as local:
        places = {
            "": Place("local", "local", lambda: nullcontext(local), is_local=True),
            "alpha": Place("alpha", "alpha", lambda: nullcontext(remote)),
        }
        with site.course(what, source, target) as course:
            cpu_s, began_s = site.cpu_s() + time.process_time(), time.perf_counter()
            sources = [Source(places[source], Spot(str(course.from_path)))]
            copy(plan(sources, places[target], Spot(str(course.to_path))), verify=Verify.SIZE, execution="bench")
            return time.perf_counter() - began_s, site.cpu_s() + time.process_time() - cpu_s


def across(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """One large file from machine to machine, through this host."""
    megabytes = site.add_file("large", settings.large_bytes)
    report.title(f"{settings.large_bytes >> 20:,} MiB from machine to machine")
    pairs = [f"{one}-{other}" for one in TRANSPORTS for other in TRANSPORTS]
    ways: dict[str, Way] = {
        "ssh cat, ssh cat": site.tools.cat,
        "scp -3": lambda course: site.tools.scp(course, "-3"),
        **{f"wlmctl, {pair}": site.wlmctl(pair) for pair in pairs},
    }
    row: Measured = {name: partial(site.taken, "large", "alpha", "beta", way) for name, way in ways.items()}
    seconds = compare(report, {"across": row}, settings.runs, "MB/s", megabytes)
    for pair in pairs:
        promised(report, seconds, f"across, wlmctl, {pair}", "across, ssh cat, ssh cat", 1.0)
        promised(report, seconds, f"across, wlmctl, {pair}", "across, scp -3", 1.3)
    site.remove("large")


def sha256(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """What comparing by content adds to a large file, beside what the far tool takes to hash it."""
    megabytes = site.add_file("large", settings.large_bytes)
    report.title(f"--verify sha256 of {settings.large_bytes >> 20:,} MiB")
    ways = {
        f"{name}, {verify}": site.wlmctl(f"{name}-sftp", verify) for name in TRANSPORTS for verify in ("size", "sha256")
    }
    with connected(site, "sftp") as transport:
        rows: dict[str, Measured] = {
            direction: {"the far tool alone": partial(_hashed, site, transport), **row}
            for direction, row in _both(site, "large", ways).items()
        }
        seconds = compare(report, rows, settings.runs, "MB/s", megabytes)
    for direction in DIRECTIONS:
        tool = seconds[f"{direction}, the far tool alone"]
        for name in TRANSPORTS:
            with_size, with_hash = (seconds[f"{direction}, {name}, {verify}"] for verify in ("size", "sha256"))
            allowed = [
                1.15 * size_s + 1.2 * tool_s for size_s, tool_s in zip(with_size.values, tool.values, strict=True)
            ]
            report.promise(
                f"{direction}, {name}, sha256 beside 1.15 x the time with size + 1.2 x that of the far tool",
                ratio(with_hash, Spread(allowed)).median,
                1.0,
            )
    site.remove("large")


def _hashed(site: Site, transport: Transport) -> tuple[float, float]:
    assert isinstance(transport, Digests)
    cpu_s, began_s = site.cpu_s(), time.perf_counter()
    transport.digest(str(site.base("alpha") / "large"))
    return time.perf_counter() - began_s, site.cpu_s() - cpu_s


def commands(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Short commands, one after the other, over one open connection."""
    count = 10 if settings.quick else 500
    report.title(f"{count} times `true` over an open connection")
    rates = Spread()
    with connected(site, "sftp") as transport:
        assert isinstance(transport, Runs)
        for _ in range(settings.runs):
            began_s = time.perf_counter()
            for _ in range(count):
                transport.run("true")
            rates.values.append(count / (time.perf_counter() - began_s))
    report.table(("", "a second"), [("wlmctl", rates.text("{:.0f}"))])
    report.promise("short commands over one connection", rates.median, 200, at_least=True, unit="a second")


def delay(report: Report, site: Site, settings: argparse.Namespace) -> None:
    """Large and small files over a line with a round trip of 50 ms, whole processes."""
    megabytes = site.add_file("long", settings.delayed_bytes)
    with site.long_line(ROUND_TRIP_S) as ssh_config:
        tools = Tools(site.folder, ssh_config)
        own: dict[str, Way] = {
            f"wlmctl, {name}": site.wlmctl(f"{name}-sftp", ssh_config=ssh_config) for name in TRANSPORTS
        }
        report.title(f"{megabytes:,.0f} MB, round trip {ROUND_TRIP_S * 1000:.0f} ms")
        seconds = compare(report, _both(site, "long", {"sftp": tools.sftp, **own}), settings.runs, "MB/s", megabytes)
        for direction in DIRECTIONS:
            for name in own:
                promised(report, seconds, f"{direction}, {name}", f"{direction}, sftp", 1.0)
        site.remove("long")
        count = site.add_folder("long", settings.delayed_count)
        report.title(f"{count:,.0f} files of 4 KiB, round trip {ROUND_TRIP_S * 1000:.0f} ms")
        rows = _both(site, "long", {"scp -r": tools.scp, **own})
        seconds = compare(report, rows, 1 if settings.long else settings.runs, "files/s", count)
        for direction in DIRECTIONS:
            for name in own:
                promised(report, seconds, f"{direction}, {name}", f"{direction}, scp -r", 5.0)
        site.remove("long")


PARTS = {
    "large": large,
    "small": small,
    "pooled": pooled,
    "across": across,
    "sha256": sha256,
    "memory": memory,
    "tree": tree,
    "commands": commands,
    "delay": delay,
}


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """All tables."""
    if not is_available():
        print("no sshd here (Debian: openssh-server): not measured")
        return
    settings.large_bytes = 4 * MIB if settings.quick else 1024 * MIB
    settings.relay_bytes = 4 * MIB if settings.quick else (10 if settings.long else 1) * 1024 * MIB
    settings.delayed_bytes = MIB if settings.quick else 200_000_000
    settings.delayed_count = 5 if settings.quick else 1_000 if settings.long else 100
    settings.small_count, settings.tree_count = (20, 50) if settings.quick else (5_000, 100_000)
    with open_site(folder) as site:
        for name, part in PARTS.items():
            if settings.only in name:
                part(report, site, settings)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
