"""Connections that break behind a chosen byte: what was there stays, the fault is told, and a second try ends well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.staged import FAR, Ends
from tests.transfers import leftovers
from wlmctl.errors import Broken, Unreachable
from wlmctl.transfer import copy


@pytest.mark.parametrize("kind", FAR)
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("after_bytes", [0, 1_000_000, 2_400_000])
def test_a_killed_connection_is_told_and_a_second_try_succeeds(
    ends: Ends, data: Path, kind: str, way: str, after_bytes: int
) -> None:
    out = ends.folder / "out"
    out.mkdir()
    (out / "big").write_text("old")
    source, to = ("local", kind) if way == "up" else (kind, "local")
    made = ends.planned(source, data / "big", to, f"{out}/")
    killed = False

    def progress(done_bytes: int, *_: int) -> None:
        nonlocal killed
        if done_bytes >= after_bytes and not killed:
            killed = True
            ends.farm[kind].kill_sessions()

    told = ""
    try:
        copy(made, execution="e1", progress=progress)
    except (Broken, Unreachable) as error:
        told = str(error)
    if told:
        assert kind in told
        assert (out / "big").read_text() == "old"
    else:  # it was cut before it was opened, or after the last byte had come
        assert (out / "big").read_bytes() == (data / "big").read_bytes()
    assert killed
    assert leftovers(ends.folder) == []
    ends.copied(source, data / "big", to, f"{out}/", execution="e2")
    assert (out / "big").read_bytes() == (data / "big").read_bytes()
