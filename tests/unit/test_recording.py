"""Recorded decisions: what is written is what was shown and answered, and it is decided on again in the same way."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from wlmctl import plugins
from wlmctl.errors import ConfigError, PluginError
from wlmctl.recording import Recorder, read
from wlmctl.scheduler import Assignment, Decision, Snapshot
from wlmctl.simulation.replay import replay
from wlmctl.testing.builders import make_snapshot, random_snapshot


def record(path: Path, name: str, count: int = 30) -> list[tuple[Snapshot, Decision]]:
    """What the scheduler was shown, and answered, while it was recorded."""
    scheduler = Recorder(path).of(name, {"ageing_step": "2h"}, plugins.scheduler_factory(name)({"ageing_step": "2h"}))
    snapshots = [random_snapshot(seed) for seed in range(count)]
    return [(snapshot, scheduler.assign(snapshot)) for snapshot in snapshots]


@pytest.mark.parametrize("name", plugins.names("scheduler"))
def test_every_scheduler_decides_again_as_it_did(tmp_path: Path, name: str) -> None:
    record(tmp_path / "log", name)
    (told,) = replay(tmp_path / "log", plugins.scheduler_factory)
    assert (told.name, told.decisions, told.same, told.difference) == (name, 30, 30, None)


def test_what_is_read_is_what_was_shown_and_answered(tmp_path: Path) -> None:
    kept = record(tmp_path / "log", "fifo")
    found = [recorded for _, recorded in read(tmp_path / "log")]
    assert {recorded.scheduler for recorded in found} == {"fifo"}
    assert found[0].options == {"ageing_step": "2h"}
    for recorded, (snapshot, decision) in zip(found, kept, strict=True):
        assert recorded.snapshot.machines == snapshot.machines
        assert list(recorded.snapshot.tasks()) != [] or not list(snapshot.tasks())
        assert [task for task, _ in recorded.snapshot.tasks()] == [task for task, _ in snapshot.tasks()]
        assert list(recorded.snapshot.workers) == list(snapshot.workers)
        assert list(recorded.decision.assignments) == list(decision.assignments)


def test_a_line_whose_writer_was_ended_in_the_middle_costs_no_other_decision(tmp_path: Path) -> None:
    path = tmp_path / "log"
    record(path, "fifo", 2)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(list(read(path))) == 1
    record(path, "fifo", 3)
    assert [line for line, _ in read(path)] == [1, 3, 4, 5]
    (told,) = replay(path, plugins.scheduler_factory)
    assert (told.decisions, told.difference) == (4, None)


def test_another_decision_is_named_with_its_line(tmp_path: Path) -> None:
    class Other:
        def assign(self, snapshot: Snapshot) -> Decision:
            return Decision([Assignment("g/1", "elsewhere")]) if snapshot.groups else Decision()

    scheduler = Recorder(tmp_path / "log").of("fifo", {}, Other())
    for snapshot in (make_snapshot(), random_snapshot(1)):
        scheduler.assign(snapshot)
    (told,) = replay(tmp_path / "log", plugins.scheduler_factory)
    assert (told.decisions, told.same) == (2, 1)
    assert told.difference == (f"{tmp_path}/log:2: g/1 on elsewhere by any worker was decided, and is not any more")


def test_a_scheduler_that_throws_while_decisions_are_replayed_is_named_with_the_line(tmp_path: Path) -> None:
    class Throws:
        def __init__(self, options: object) -> None:
            pass

        def assign(self, snapshot: Snapshot) -> Decision:
            raise ValueError("no\nluck")

    record(tmp_path / "log", "fifo")
    with pytest.raises(PluginError, match=rf"^scheduler mine fails at {tmp_path}/log:1: ValueError: no luck$"):
        replay(tmp_path / "log", lambda _: Throws, ("mine", {}))


def test_a_file_that_cannot_be_written_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^record_decisions: .*/none/log: No such file or directory$"):
        Recorder(tmp_path / "none" / "log")


def test_decisions_go_on_where_they_cannot_be_recorded_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    scheduler = Recorder(folder / "log").of("fifo", {}, plugins.scheduler_factory("fifo")({}))
    (folder / "log").unlink()
    folder.rmdir()
    with caplog.at_level(logging.WARNING):
        decisions = [scheduler.assign(random_snapshot(seed)) for seed in range(3)]
    assert len(decisions) == 3
    assert [text.endswith("No such file or directory: '" + str(folder / "log") + "'") for text in caplog.messages] == [
        True
    ]
