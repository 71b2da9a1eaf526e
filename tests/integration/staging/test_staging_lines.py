"""Long, narrow and lossy lines, and new keys in mid-file: slower, never wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sshd import Farm, require_sshd
from tests.staged import Ends, content
from tests.transfers import leftovers
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.transfer import Summary

TRANSPORTS = ["sftp", "scp"]


def both_ways(ends: Ends, data: Path, kind: str, what: str) -> None:
    for source, to, way in (("local", kind, "up"), (kind, "local", "down")):
        summary = ends.tried(source, data / what, to, ends.folder / way)
        assert isinstance(summary, Summary), summary
        assert content(ends.folder / way) == content(data / what)
    assert leftovers(ends.folder) == []


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_what_is_delayed_by_retransmissions_arrives_whole(ends: Ends, data: Path, kind: str) -> None:
    ends.through(kind, round_trip_s=0.01, late_share=0.01, late_s=0.2, seed=6)
    both_ways(ends, data, kind, "")


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_tree_over_a_long_line_needs_few_round_trips(ends: Ends, data: Path, kind: str) -> None:
    """A wait for each file would take 30 s each way, and four waits for each file 120 s."""
    for number in range(300):
        (data / "sub" / f"f{number}").write_bytes(b"%d" % number * 100)
    ends.through(kind, round_trip_s=0.1)
    for source, to, way in (("local", kind, "up"), (kind, "local", "down")):
        made = ends.planned(source, data / "sub", to, ends.folder / way)
        began = time.monotonic()
        assert isinstance(ends.carried_out(made), Summary)
        assert time.monotonic() - began < 20
        assert content(ends.folder / way) == content(data / "sub")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_round_trip_of_two_seconds_is_waited_for(ends: Ends, data: Path, kind: str) -> None:
    ends.through(kind, round_trip_s=2)
    assert isinstance(ends.tried("local", data, kind, ends.folder / "up"), Summary)
    assert content(ends.folder / "up") == content(data)
    assert isinstance(ends.tried(kind, data / "big", "local", ends.folder / "down"), Summary)
    assert content(ends.folder / "down") == content(data / "big")


@pytest.fixture
def rekeying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """The ends of machines whose sshd asks for new keys every 4 MiB."""
    require_sshd()
    farm = Farm(tmp_path / "farm", first=90)
    ends = Ends(farm, ConnectionPool(open_transport), tmp_path)
    try:
        for name in TRANSPORTS:
            farm.add(name, options=["RekeyLimit 4M", "LogLevel DEBUG1"])
        for name, value in farm.write_inventory(tmp_path / "inventory").env.items():
            monkeypatch.setenv(name, value)
        yield ends
    finally:
        ends.close()
        farm.close()


def test_new_keys_in_mid_file_change_nothing(rekeying: Ends, tmp_path: Path) -> None:
    ends = rekeying
    big = tmp_path / "data" / "big"
    big.parent.mkdir()
    big.write_bytes(os.urandom(1 << 20) * 20)
    for kind in TRANSPORTS:
        both_ways(ends, big.parent, kind, "big")
        assert ends.farm[kind].log_text.count("SSH2_MSG_KEXINIT received") > 5
        for way in ("up", "down"):
            (ends.folder / way).unlink()
    relayed = ends.tried("sftp", big, "scp", ends.folder / "over")
    assert isinstance(relayed, Summary), relayed
    assert content(ends.folder / "over") == content(big)


@pytest.mark.long
def test_what_the_kernel_loses_reorders_and_doubles_arrives_whole() -> None:
    """Runs the tests of breaks once more in a network of their own, whose loopback is bad."""
    if os.geteuid() or not all(map(shutil.which, ("unshare", "ip", "tc"))):
        pytest.skip("NOT TRIED: netem needs root, unshare, ip and tc (Debian: util-linux, iproute2)")
    bad = "ip link set lo up && tc qdisc add dev lo root netem delay 2ms 1ms loss 1% reorder 5% duplicate 1%"
    probe = subprocess.run(["unshare", "--net", "sh", "-c", bad], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"NOT TRIED: no netem here: {probe.stderr.strip()}")
    again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", str(Path(__file__).parent)]
    again += ["-k", "arrives_whole_between or breaks", "-m", "not long"]
    ran = subprocess.run(["unshare", "--net", "sh", "-c", f'{bad} && exec "$@"', "sh", *again], check=False)
    assert ran.returncode == 0
