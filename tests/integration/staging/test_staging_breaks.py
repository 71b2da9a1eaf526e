"""Connections that break behind a chosen byte: what was there stays, the fault is told, and a second try ends well."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.services.relay import Failure, Way
from tests.staged import RETRIED, Ends, content, is_told_in_a_line
from tests.transfers import leftovers
from tests.waiting import wait_until
from wlmctl.errors import Unreachable
from wlmctl.transfer import Summary

TRANSPORTS = ["sftp", "scp"]


def ends_of(kind: str, way: Way) -> tuple[str, str]:
    """Source and destination of a transfer whose bytes go this way."""
    return ("local", kind) if way == "up" else (kind, "local")


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of 12 MB: worth going on with, though some MiB under way are lost in a break."""
    big = tmp_path / "source" / "big"
    big.parent.mkdir()
    big.write_bytes(os.urandom(12_000_000))
    return big


# every other pair, at many more bytes, is in test_staging_anywhere.py
@pytest.mark.parametrize(
    ("kind", "how", "way"),
    [
        ("sftp", "reset", "up"), ("sftp", "stall", "down"), ("sftp", "end", "down"),
        ("scp", "cut", "up"), ("scp", "reset", "down"), ("scp", "end", "up"),
        ("openssh", "stall", "up"), ("openssh", "reset", "down"),
    ],
)  # fmt: skip
def test_a_connection_that_breaks_in_mid_file_is_told_and_the_second_try_goes_on(
    ends: Ends, big: Path, kind: str, way: Way, how: Failure
) -> None:
    ends.timeouts_s = {kind: 2} if how in ("cut", "stall") else {}
    relay = ends.through(kind)
    source, to = ends_of(kind, way)
    out = ends.folder / "out" / "big"
    out.parent.mkdir()
    out.write_text("old")
    made = ends.planned(source, big, to, out)
    relay.fail(how, way, after_bytes=11_000_000)
    error = ends.carried_out(made, dispatch=1)
    assert relay.has_failed
    assert isinstance(error, RETRIED), error
    assert is_told_in_a_line(error)
    assert kind in str(error)
    assert out.read_text() == "old"
    ends.timeouts_s = {}
    done = ends.tried(source, big, to, out, dispatch=2)
    assert isinstance(done, Summary), done
    assert done.resumed_bytes > 4_000_000
    assert done.sent_bytes + done.resumed_bytes == 12_000_000
    assert content(out) == content(big)
    assert leftovers(ends.folder) == []


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_what_was_sent_of_another_source_is_never_gone_on_with(ends: Ends, big: Path, kind: str) -> None:
    relay = ends.through(kind)
    out = ends.folder / "out"
    made = ends.planned("local", big, kind, out)
    relay.fail("reset", "up", after_bytes=11_000_000)
    assert isinstance(ends.carried_out(made, dispatch=1), RETRIED)
    with big.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"another content of the same size")
    done = ends.tried("local", big, kind, out, dispatch=2)
    assert isinstance(done, Summary), done
    assert (done.resumed_bytes, done.sent_bytes) == (0, 12_000_000)
    assert content(out) == content(big)
    assert leftovers(ends.folder) == []


@pytest.mark.parametrize("after_bytes", [1, 1_000])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_that_breaks_before_the_login_is_tried_again_at_once(
    ends: Ends, data: Path, way: Way, after_bytes: int
) -> None:
    relay = ends.through("sftp")
    relay.fail("reset", way, after_bytes)
    assert isinstance(ends.tried("local", data / "run", "sftp", ends.folder / "out"), Summary)
    assert relay.has_failed
    assert content(ends.folder / "out") == content(data / "run")


@pytest.mark.parametrize(
    ("kind", "way", "target"),
    [("sftp", "up", "new"), ("sftp", "down", "there"), ("scp", "down", "new"), ("scp", "up", "there")],
)
def test_a_tree_that_breaks_off_is_whole_or_not_there_or_whole_file_by_file(
    ends: Ends, data: Path, kind: str, way: Way, target: str
) -> None:
    for number in range(100):
        (data / "sub" / f"f{number}").write_bytes(os.urandom(10_000))
    relay = ends.through(kind)
    source, to = ends_of(kind, way)
    out = ends.folder / "out"
    if target == "there":
        out.mkdir()
        (out / "run").write_text("old")
    for dispatch, after_bytes in enumerate((400_000, 2_000_000), 1):
        made = ends.planned(source, f"{data}/", to, out)
        relay.fail("reset", way, after_bytes)
        error = ends.carried_out(made, dispatch=dispatch)
        if isinstance(error, Summary):  # resumed, there was less to send
            break
        assert isinstance(error, RETRIED), error
        assert is_told_in_a_line(error)
        if target == "new":
            assert not out.exists()
            continue
        for path in out.rglob("*"):
            if path.is_file() and ".wlm-" not in str(path):
                wanted = [content(data / path.relative_to(out)), b"old"]
                assert content(path) in wanted[: 2 if path.name == "run" else 1]
    assert isinstance(ends.tried(source, f"{data}/", to, out, dispatch=3), Summary)
    assert content(out) == content(data)
    assert leftovers(ends.folder) == []


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_relay_between_two_machines_tells_which_of_them_was_lost(ends: Ends, data: Path, kind: str) -> None:
    for lost, way in ((kind, "down"), ("files", "up")):
        relay = ends.through(lost)
        made = ends.planned(kind, data / "big", "files", ends.folder / "out")
        relay.fail("reset", way, after_bytes=1_500_000)  # type: ignore[arg-type]
        error = ends.carried_out(made)
        assert isinstance(error, RETRIED), error
        assert lost in str(error)
        assert not (ends.folder / "out").exists()
    assert isinstance(ends.tried(kind, data / "big", "files", ends.folder / "out"), Summary)
    assert content(ends.folder / "out") == content(data / "big")
    assert leftovers(ends.folder) == []


@pytest.mark.parametrize(("kind", "way"), [("sftp", "up"), ("scp", "down")])
def test_a_server_that_is_killed_and_started_again_is_found_by_the_second_try(
    ends: Ends, data: Path, kind: str, way: Way
) -> None:
    relay = ends.through(kind, bytes_per_s=250_000)  # ten seconds for all of it
    source, to = ends_of(kind, way)
    out = ends.folder / "out"
    made = ends.planned(source, data / "big", to, out)
    before = relay.passed_bytes(way)
    server = ends.farm[kind]
    errors: list[object] = []
    copying = threading.Thread(target=lambda: errors.append(ends.carried_out(made)))
    copying.start()
    wait_until(lambda: relay.passed_bytes(way) > before + 250_000, "a part has passed")
    server.stop()
    try:
        copying.join(60)
        relay.close()
        ends.through(kind)
        assert isinstance(errors[0], RETRIED), errors
        assert is_told_in_a_line(errors[0])
        away = ends.tried(source, data / "big", to, out, dispatch=2)
        assert isinstance(away, Unreachable)
        assert not out.exists()
    finally:
        server.start()
    assert isinstance(ends.tried(source, data / "big", to, out, dispatch=3), Summary)
    assert content(out) == content(data / "big")
    assert leftovers(ends.folder) == []
