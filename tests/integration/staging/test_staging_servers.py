"""SFTP servers that lie, that take less than others, or that break the protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.services.odd_sftp_server import CLOSE, DATA, FSETSTAT, HANDLE, NAME, RENAME
from tests.staged import RETRIED, Ends, Odd, content, is_told_in_a_line
from tests.transfers import leftovers
from wlmctl.errors import Denied, TaskFailed, WlmctlError
from wlmctl.transfer import Summary, Verify


def both_ways(
    ends: Ends, data: Path, verify: Verify = Verify.SHA256, what: str = ""
) -> dict[str, Summary | WlmctlError]:
    """What came of copying to the odd machine and from it: whole, or told with nothing left."""
    came: dict[str, Summary | WlmctlError] = {}
    for way, source, to in (("up", "local", "odd"), ("down", "odd", "local")):
        out = ends.folder / way
        came[way] = ends.tried(source, data / what, to, out, verify=verify)
        if not isinstance(came[way], Summary):
            assert is_told_in_a_line(came[way]), came[way]
            assert content(out) is None
            assert leftovers(ends.folder) == []
        elif verify is Verify.SHA256:
            assert content(out) == content(data / what)
    return came


@pytest.mark.parametrize("verify", [Verify.SHA256, Verify.SIZE])
@pytest.mark.parametrize("size_off", [-1000, 1000])
def test_a_server_that_lies_about_sizes_delivers_nothing_short(
    odd: Odd, data: Path, size_off: int, verify: Verify
) -> None:
    came = both_ways(odd(size_off=size_off), data, verify, "big")
    assert isinstance(came["down"], (TaskFailed, *RETRIED)), came
    if verify is Verify.SIZE:
        assert isinstance(came["up"], RETRIED), came


@pytest.mark.parametrize("what", ["big", "sub"])
def test_a_server_that_ends_files_early_or_drops_what_it_confirmed_delivers_nothing(
    odd: Odd, data: Path, what: str
) -> None:
    (data / "sub" / "small").write_bytes(os.urandom(100_000))
    at = 1_000_000 if what == "big" else 50_000
    ends = odd(reads_end_at=at, writes_lost_from=at)
    came = both_ways(ends, data, Verify.SIZE, what)
    for way, error in came.items():
        assert isinstance(error, (TaskFailed, *RETRIED)), came
        named = ends.folder / way if way == "up" else data / what
        assert str(named if what == "big" else named / "small") in str(error)


@pytest.mark.parametrize("shell", [True, False], ids=["with shell", "without"])
@pytest.mark.parametrize("what", ["big", "sub"])
def test_a_byte_that_is_altered_on_the_way_up_is_found_by_the_digest(
    odd: Odd, data: Path, what: str, shell: bool
) -> None:
    (data / "sub" / "small").write_bytes(os.urandom(100_000))
    error = both_ways(odd(shell=shell, writes_garbled_at=60_000), data, Verify.SHA256, what)["up"]
    assert isinstance(error, RETRIED), error
    assert "another" in str(error)


def test_a_byte_that_is_altered_on_the_way_down_is_found_where_the_far_side_can_hash(odd: Odd, data: Path) -> None:
    error = both_ways(odd(shell=True, reads_garbled_at=60_000), data, Verify.SHA256, "big")["down"]
    assert isinstance(error, RETRIED), error
    assert "another sha256" in str(error)


@pytest.mark.parametrize(
    "manners",
    [
        {"largest_packet": 34_000, "no_extensions": True},
        {"largest_read": 5_000},
        {"handles": 4},
        {"swaps": True},
        {"no_extensions": True},
    ],
    ids=["small packets", "short answers", "few handles", "answers in another order", "no extensions"],
)
def test_a_server_with_small_limits_is_served_within_them(odd: Odd, data: Path, manners: dict[str, Any]) -> None:
    came = both_ways(odd(**manners), data)
    for summary in came.values():
        assert isinstance(summary, Summary), came


@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("manner", ["silent_after", "dies_after"])
def test_a_server_that_falls_silent_or_dies_after_some_answers_is_told(
    odd: Odd, data: Path, manner: str, count: int
) -> None:
    ends = odd(**{manner: count})
    ends.timeout_s = 1
    for what in ("big", "sub"):
        error = ends.tried("odd", data / what, "local", ends.folder / "out")
        assert isinstance(error, RETRIED), error
        assert is_told_in_a_line(error)
        assert content(ends.folder / "out") is None
        assert leftovers(ends.folder) == []


@pytest.mark.parametrize("kind", [RENAME, CLOSE, FSETSTAT])
def test_a_refusal_with_many_lines_and_controls_is_told_in_one_line(odd: Odd, data: Path, kind: int) -> None:
    text = "refused\nby\x1b[31m policy\r\n\u202e" + "of this host " * 20
    ends = odd(refuses=[kind], text=text, no_extensions=True)
    for what in ("big", "sub"):
        error = ends.tried("local", data / what, "odd", ends.folder / "out")
        assert isinstance(error, (Denied, *RETRIED)), error
        assert is_told_in_a_line(error), str(error)
        assert "policy" in str(error)
        assert content(ends.folder / "out") is None
        assert leftovers(ends.folder) == []


@pytest.mark.parametrize("kind", [DATA, HANDLE, NAME])
def test_a_server_whose_answers_end_early_is_told(odd: Odd, data: Path, kind: int) -> None:
    ends = odd(ends_packets_early=[kind])
    for what in ("big", "sub"):
        error = ends.tried("odd", data / what, "local", ends.folder / "out")
        if what == "big" and kind == NAME:  # nothing is listed for one file
            assert isinstance(error, Summary), error
            assert content(ends.folder / "out") == content(data / "big")
            (ends.folder / "out").unlink()
            continue
        assert is_told_in_a_line(error), error
        assert content(ends.folder / "out") is None
