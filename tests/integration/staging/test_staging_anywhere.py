"""Any fault at any byte of any transfer: identical content under the final name, or a line that tells, and nothing."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.relay import Failure, Relay, Way
from tests.services.sshd import Farm, open_farm, require_sshd
from tests.staged import RETRIED, Ends, content, is_told_in_a_line
from tests.transfers import leftovers
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.transfer import Summary

#: More, or others, by WLMCTL_TEST_FAULTS=100 and WLMCTL_TEST_SEED=7.
_DRAWS = int(os.environ.get("WLMCTL_TEST_FAULTS", "12"))
_SEED = os.environ.get("WLMCTL_TEST_SEED") or str(time.time_ns())
_TRANSPORTS = ["sftp", "scp", "openssh"]
_FAILURES: list[Failure] = ["cut", "reset", "stall", "end"]
_WAYS: list[Way] = ["up", "down"]


@pytest.fixture(scope="module")
def farm_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), _TRANSPORTS) as farm:
        yield farm


@pytest.fixture
def all_ends(farm_of_all: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    for name, value in farm_of_all.write_inventory(tmp_path / "inventory").env.items():
        monkeypatch.setenv(name, value)
    transports = {name: name for name in _TRANSPORTS}
    ends = Ends(farm_of_all, ConnectionPool(open_transport), tmp_path, transports, timeout_s=30)
    yield ends
    ends.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with a file that is worth going on with, one that is not, and many small ones."""
    source = tmp_path / "source"
    (source / "sub" / "deeper").mkdir(parents=True)
    (source / "large").write_bytes(os.urandom(6_000_000))
    (source / "middle").write_bytes(os.urandom(700_000))
    for number in range(120):
        (source / "sub" / f"f{number}").write_bytes(os.urandom(number * 50))
    (source / "sub" / "deeper" / "link").symlink_to("../f1")
    return source


def fresh(out: Path, target: str) -> None:
    """What is at the target before a transfer."""
    if target == "there":
        (out / "sub").mkdir(parents=True)
        (out / "large").write_text("old")
        (out / "sub" / "f7").write_text("old")


def is_whole_or_old(out: Path, source: Path, target: str) -> bool:
    """True for what may be at the target after a fault."""
    if target == "new":
        return not out.exists()
    for path in out.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".wlm-" not in str(path.relative_to(out)):
            here = path.read_bytes()
            if here != (source / path.relative_to(out)).read_bytes() and here != b"old":
                return False
    return True


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("target", ["new", "there"])
@pytest.mark.parametrize("way", ["up", "down", "across"])
@pytest.mark.parametrize("kind", _TRANSPORTS)
def test_a_fault_at_any_byte_is_survived(all_ends: Ends, source: Path, kind: str, way: str, target: str) -> None:
    """``across``: from this machine to the next kind, and either may fail.

    Only the machine whose way fails has a short time-out, and only for the try that fails: a busy host then changes
    nothing but which of the outcomes that are right it is.
    """
    ends, out = all_ends, all_ends.folder / "out"
    draw = random.Random(f"{_SEED} {kind} {way} {target}")
    next_kind = _TRANSPORTS[(_TRANSPORTS.index(kind) + 1) % len(_TRANSPORTS)]
    origin, to = {"up": ("local", kind), "down": (kind, "local"), "across": (kind, next_kind)}[way]
    far = [name for name in (origin, to) if name != "local"]
    relays: list[Relay] = [ends.through(name) for name in far]
    fresh(out, target)
    whole = ends.tried(origin, f"{source}/", to, out)
    assert isinstance(whole, Summary), whole
    totals = [{each: relay.passed_bytes(each) for each in _WAYS} for relay in relays]
    for number in range(_DRAWS):
        shutil.rmtree(out)
        fresh(out, target)
        ends.pool.close_all()
        ends.pool = ConnectionPool(open_transport)  # each begins with its login
        which, how, direction = draw.randrange(len(relays)), draw.choice(_FAILURES), draw.choice(_WAYS)
        after_bytes = draw.randint(1, totals[which][direction])
        told = f"seed {_SEED}, draw {number}: {how} after {after_bytes:,} bytes {direction} of relay {which}"
        relays[which].fail(how, direction, after_bytes)
        ends.timeouts_s = {far[which]: 1}
        came = ends.tried(origin, f"{source}/", to, out, dispatch=1)
        if isinstance(came, Summary):
            assert content(out) == content(source), told
        else:
            assert isinstance(came, RETRIED), (told, came)
            assert is_told_in_a_line(came), (told, came)
            assert is_whole_or_old(out, source, target), (told, came)
        ends.timeouts_s = {}
        again = ends.tried(origin, f"{source}/", to, out, dispatch=2)
        if not isinstance(again, Summary):  # the first was over before the fault came
            again = ends.tried(origin, f"{source}/", to, out, dispatch=3)
        assert isinstance(again, Summary), (told, came, again)
        assert content(out) == content(source), (told, came)
        assert leftovers(ends.folder) == [], (told, came)
        print(f"{told}: {came if isinstance(came, Summary) else type(came).__name__}; {again.resumed_bytes:,} resumed")
