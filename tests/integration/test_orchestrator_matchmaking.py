"""The scheduler ``matchmaking`` under an orchestrator: what it is shown, and what becomes of its decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.explained import fact, told
from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import Clock, inventory, machine, play_types
from wlmctl.machine import Machine
from wlmctl.message import Outcome
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


def test_roles_of_each_go_to_all_machines_although_their_first_tasks_take_nothing(
    start: Start, watched: Watched
) -> None:
    play = start(machine("a", cpus=2, labels=("x",)), machine("b", cpus=4, labels=("x",)))
    seq = play.submit(
        "max_running: 1\n"
        "machines: {r: {requires: {labels: [x]}, each: n}}\n"
        "tasks:\n"
        "  first: {type: step, machine: r, foreach: {n: 1..6}}\n"
        "  last: {type: play, machine: r, needs: ['first[${n}]'], foreach: {n: 1..6}}\n"
    )
    for _ in range(40):  # one after the other: each role is bound by a decision of its own
        for message in [*play.step().tasks]:
            play.end(message)
    assert set(play.states(seq).values()) == {"succeeded"}
    bound = [(each.role, each.machine) for each in max(watched.seen, key=lambda each: len(each.bindings)).bindings]
    assert [role for role, _ in bound] == [f"r[{number}]" for number in range(1, 7)]
    assert Counter(place for _, place in bound) == {"a": 2, "b": 4}


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


NEAR = """
machines: {r: {requires: {labels: [x]}, each: n}, put: {requires: {labels: [x]}, each: n}, all: {requires: {cpus: 99}}}
tasks:
  little: {type: carry, machine: a, also: nas}
  own: {type: carry, machine: put, also: nas, foreach: {n: [1, 2]}}
  join: {type: carry, machine: r, also: put, needs: [little, "own[${n}]"], foreach: {n: [1, 2]}}
  more: {type: carry, machine: r, also: a, needs: ["join[${n}]"], foreach: {n: [1, 2]}}
  gather: {type: carry, machine: all, also: put, needs: [own], foreach: {n: [1, 2]}}
"""


def test_what_was_staged_for_a_role_counts_for_those_whose_tasks_read_it_and_is_explained(
    start: Start, watched: Watched
) -> None:
    play = start(machine("nas"), machine("a", labels=("x",)), machine("b", labels=("x",)), machine("c", labels=("x",)))
    seq = play.submit(NEAR)
    play.step()
    staged = {"little": 100, "own[1]": 5_000, "own[2]": 7_000}
    for _ in range(3):
        for name in [name for name, state in play.states(seq).items() if state == "assigned" and name in staged]:
            play.end(name, Outcome("done", outputs={"bytes": str(staged[name]), "files": "1"}))
        play.step()
    put = dict(play.others.rows("SELECT role, machine FROM bindings WHERE exp = ?", (seq,)))
    shown = {role.role: role.data_bytes for snapshot in watched.seen for role in snapshot.roles}
    for n in (1, 2):
        expected = Counter({put[f"put[{n}]"]: staged[f"own[{n}]"]}) + Counter({"a": 100})
        assert shown[f"r[{n}]"] == expected
        assert put[f"r[{n}]"] == put[f"put[{n}]"], "where most of it is"
        bound = fact(told(play, seq, f"join[{n}]"), "bound_near")
        assert (bound["role"], bound["data_bytes"]) == (f"r[{n}]", expected[put[f"put[{n}]"]])
    assert shown["all"] == {}, "it reads from many, none of which is its own"
    assert_told_in_full(play.others, [seq])


def test_what_was_staged_is_known_to_the_next_orchestrator_too(start: Start, watched: Watched) -> None:
    play = start(machine("nas"), machine("a"), machine("b", labels=("x",)))
    play.submit(
        "machines: {r: {requires: {labels: [x]}}}\n"
        "tasks: {up: {type: carry, machine: a, also: nas}, other: {type: step},"
        " on: {type: carry, machine: r, also: a, needs: [up, other]}}"
    )
    play.step().end("up", Outcome("done", outputs={"bytes": "4096"}))
    play.step().lead()
    play.step().end("other")
    watched.seen.clear()
    play.step()
    assert [role.data_bytes for role in watched.seen[0].roles] == [{"a": 4096}]
