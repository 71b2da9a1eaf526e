"""The picture of a simulation: what it shows, and what is said where it cannot be drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wlmctl.errors import UsageError
from wlmctl.simulation.changes import levels
from wlmctl.simulation.engine import Outcome
from wlmctl.simulation.machines_file import nodes_of
from wlmctl.simulation.plot import check, draw, utilisation, waits_s
from wlmctl.simulation.workload import Job, Workload, prepare


def outcome(*starts_s: float | None, gpus: int = 0) -> Outcome:
    """Jobs that came at once, of 100 s and a half of the only node each."""
    jobs = [Job(0.0, 100.0, 2, gpus=gpus) for _ in starts_s]
    problem = prepare(Workload(jobs, nodes_of("n", 1, 4, None, 4 * gpus)), levels(jobs, {}))
    return Outcome(problem, list(starts_s), [(0,)] * len(starts_s))


def test_utilisation_is_what_was_used_in_each_part_of_the_time() -> None:
    assert utilisation(outcome(0.0, 0.0, 100.0), parts=4)[1] == pytest.approx([1.0, 1.0, 0.5, 0.5])


def test_a_job_that_ends_within_a_part_counts_for_the_share_of_it_that_it_ran() -> None:
    days, parts = utilisation(outcome(0.0, 200.0), parts=2)  # 300 s: one runs to 100 s, the other from 200 s on
    assert parts == pytest.approx([0.5 * 100 / 150] * 2)
    assert days == pytest.approx([0.0, 150 / 86400])


def test_where_jobs_ask_for_gpus_it_is_of_gpus() -> None:
    assert utilisation(outcome(0.0, gpus=1), parts=1)[1] == pytest.approx([0.25])


def test_a_job_that_never_started_has_no_wait_and_uses_nothing() -> None:
    found = outcome(20.0, None, 0.0)
    assert waits_s(found) == [0.0, 20.0]
    assert utilisation(outcome(None)) == ([], [])


@pytest.mark.parametrize(("name", "start"), [("p.svg", b"<?xml"), ("p.png", b"\x89PNG")])
def test_the_picture_is_of_the_kind_that_its_name_says_and_the_same_each_time(
    tmp_path: Path, name: str, start: bytes
) -> None:
    pytest.importorskip("matplotlib")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        draw(tmp_path / folder / name, [("easy", outcome(0.0, 100.0)), ("fifo", outcome(0.0, 0.0))])
    first = (tmp_path / "a" / name).read_bytes()
    assert first.startswith(start)
    assert first == (tmp_path / "b" / name).read_bytes()
    if name.endswith(".svg"):
        assert b"<!-- easy -->" in first
        assert b"<!-- fifo -->" in first


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError) as caught:
        check(tmp_path / "p.svg")
    assert str(caught.value) == "--plot: matplotlib is not installed, expected pip install 'wlmctl[plot]'"


def test_a_name_or_folder_that_will_not_do_is_told_before_anything_is_simulated(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"expected a name that ends with \.svg or \.png"):
        check(tmp_path / "p.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        check(tmp_path / "none" / "p.svg")
    (tmp_path / "p.svg").mkdir()
    with pytest.raises(UsageError, match="it is a folder, expected a file"):
        check(tmp_path / "p.svg")
