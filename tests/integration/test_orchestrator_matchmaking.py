"""The scheduler ``matchmaking`` under an orchestrator: what it is shown, and what becomes of its decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import Clock, inventory, machine, play_types
from wlmctl.machine import Machine
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Decision, RoleNeed, Snapshot
from wlmctl.task import Resources

Start = Callable[..., Orchestra]


class Watched:
    """``matchmaking``, with the snapshots that it was shown."""

    def __init__(self) -> None:
        self._real = scheduler_factory("matchmaking")({})
        self.seen: list[Snapshot] = []

    def assign(self, snapshot: Snapshot) -> Decision:
        self.seen.append(snapshot)
        return self._real.assign(snapshot)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: Watched) -> Iterator[Start]:
    clock, opened = Clock(), list[Orchestra]()
    play_types(monkeypatch, clock)

    def opener(*machines: Machine) -> Orchestra:
        opened.append(Orchestra(tmp_path, inventory(*machines), clock=clock, scheduler=watched))
        return opened[-1]

    yield opener
    for orchestra in opened:
        orchestra.close()


def test_a_machine_too_small_for_a_later_task_is_not_taken_for_the_first(start: Start, watched: Watched) -> None:
    play = start(machine("a", cpus=2, labels=("x",)), machine("b", cpus=16, labels=("x",)))
    seq = play.submit(
        "machines: {r: {requires: {labels: [x]}}}\n"
        "tasks:\n"
        "  first: {type: step, machine: r}\n"
        "  last: {type: play, machine: r, needs: [first], resources: {cpus: 8}}\n"
    )
    play.step()
    assert {row.machine for row in play.rows(seq).values() if row.machine} == {"b"}
    play.step().end("first")
    play.step()
    assert play.states(seq)["last"] == "assigned"
    assert play.told(seq, "scheduler") == []
    assert_told_in_full(play.others, [seq])


def test_what_each_value_of_a_role_asks_is_told_apart(start: Start, watched: Watched) -> None:
    play = start(machine("a", cpus=2, labels=("x",)), machine("b", cpus=16, labels=("x",)))
    seq = play.submit(
        "machines: {r: {requires: {labels: [x]}, each: n}}\n"
        "tasks:\n"
        "  first: {type: step, machine: r, foreach: {n: [1, 8]}}\n"
        '  last: {type: play, machine: r, needs: [first], foreach: {n: [1, 8]}, resources: {cpus: "${n}"}}\n'
    )
    play.step()
    [small, large] = watched.seen[0].roles
    assert small.needs == (RoleNeed("step", Resources(cpus=0)), RoleNeed("play", Resources(cpus=1)))
    assert large.needs == (RoleNeed("step", Resources(cpus=0)), RoleNeed("play", Resources(cpus=8)))
    bound = play.others.rows("SELECT role, machine FROM bindings WHERE exp = ? ORDER BY role", (seq,))
    assert bound == [("r[1]", "a"), ("r[8]", "b")]


def test_a_whole_experiment_runs_under_matchmaking(start: Start, watched: Watched) -> None:
    play = start(machine("m", cpus=2, labels=("x",)))
    seq = play.submit(
        "machines: {r: {requires: {labels: [x]}}}\n"
        "tasks: {a: {type: play, machine: r, foreach: {n: [1, 2, 3]}}, b: {type: step, needs: [a]}}"
    )
    for _ in range(8):
        play.step()
        for name in [name for name, state in play.states(seq).items() if state == "assigned"]:
            play.end(name)
    assert set(play.states(seq).values()) == {"succeeded"}
    assert play.told(seq, "scheduler") == []
    assert_told_in_full(play.others, [seq])


def test_a_task_starts_in_the_decision_that_binds_its_role_on_this_host_too(start: Start) -> None:
    play = start()
    seq = play.submit("machines: {r: {requires: {cpus: 1}}}\ntasks: {a: {type: play, machine: r}}")
    assert play.step().states(seq) == {"a": "assigned"}
    assert play.rows(seq)["a"].machine == "local"
    assert play.told(seq, "waiting") == play.told(seq, "scheduler") == []
    assert_told_in_full(play.others, [seq])
