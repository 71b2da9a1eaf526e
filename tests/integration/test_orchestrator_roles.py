"""Roles of an ``each``: shown in classes to schedulers that look at many at once, one by one to all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import pytest

from tests.explained import fact, text, told
from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import FAILED, machine
from wlmctl.message import Outcome
from wlmctl.plugins import scheduler_factory
from wlmctl.role_classes import apart
from wlmctl.scheduler import Assignment, Binding, Decision, Group, Reason, Scheduler, Snapshot
from wlmctl.store.events import events

Start = Callable[..., Orchestra]

EACH = "machines: {r: {requires: {labels: [x]}, each: n}}\n"
STEPS = EACH + "tasks: {a: {type: step, machine: r, foreach: {n: 1..4}}}"


@dataclass
class Classed(Scheduler):
    """A scheduler that is shown classes and answers what the test says; ``asked`` are the snapshots."""

    answer: Callable[[Snapshot], Any]
    asked: list[Snapshot] = field(default_factory=list)
    by_class: bool = True

    def assign(self, snapshot: Snapshot) -> Decision:
        groups = [replace(group, tasks=tuple(group.tasks)) for group in snapshot.groups]  # as they are now
        self.asked.append(replace(snapshot, groups=groups))
        decision: Decision = self.answer(snapshot)
        return decision


def nothing(_: Snapshot) -> Decision:
    return Decision()


def goes(*machines: str, tasks: int = 99, starts: bool = True) -> Callable[[Snapshot], Decision]:
    """Binds the first roles to these machines in turn, and starts their tasks and all whose machine is known."""

    def answer(snapshot: Snapshot) -> Decision:
        bound, started = dict[tuple[str, str], str](), list[Assignment]()
        for group in snapshot.groups:
            for number, task in enumerate(group.tasks[:tasks]):
                role, where = group.own_roles[number] if group.own_roles else None, group.machine
                if role is not None:
                    where = bound.setdefault((group.experiment, role), machines[len(bound) % len(machines)])
                if where is not None and (starts or role is None):
                    started.append(Assignment(task, group.machine or where))
        return Decision(started, [Binding(experiment, role, where) for (experiment, role), where in bound.items()])

    return answer


def shown(group: Group) -> dict[str, str]:
    """The tasks of a class with their roles."""
    return dict(zip(group.tasks, group.own_roles, strict=True))


def bound(play: Orchestra, seq: int) -> dict[str, str]:
    return dict(play.others.rows("SELECT role, machine FROM bindings WHERE exp = ? ORDER BY role", (seq,)))


def play_on(play: Orchestra, seq: int, steps: int = 30) -> None:
    """All that is started ends, until everything has."""
    for _ in range(steps):
        for message in [*play.step().tasks]:
            play.end(message)
    assert set(play.states(seq).values()) == {"succeeded"}
    assert_told_in_full(play.others, [seq])


def test_all_values_of_a_role_are_one_group_that_waits_for_one_class(start: Start) -> None:
    asked = Classed(nothing)
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit(STEPS)
    play.step()
    [group], [alike] = asked.asked[-1].groups, asked.asked[-1].role_classes
    assert shown(group) == {f"{seq}.{idx}": f"r[{idx + 1}]" for idx in range(4)}
    assert (group.unbound, group.machine, group.touches) == ("r", None, ())
    assert alike.roles is group.own_roles, "a scheduler need not compare them"
    assert (alike.groups, alike.requires.labels, [need.type for need in alike.needs]) == ((group.id,), ("x",), ["step"])
    assert asked.asked[-1].roles == ()


def test_a_scheduler_that_knows_of_no_classes_sees_a_group_and_a_role_for_each_value(start: Start) -> None:
    asked = Classed(nothing, by_class=False)
    play = start(machine("m", labels=("x",)), scheduler=asked)
    play.submit(STEPS)
    play.step()
    snapshot = asked.asked[-1]
    assert [(group.unbound, len(group.tasks)) for group in snapshot.groups] == [(f"r[{n}]", 1) for n in range(1, 5)]
    assert [(role.role, role.groups) for role in snapshot.roles] == [
        (group.unbound, (group.id,)) for group in snapshot.groups
    ]
    assert snapshot.role_classes == ()


def test_what_a_scheduler_was_shown_does_not_change_when_tasks_start(start: Start) -> None:
    asked = Classed(goes("m", tasks=1))
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit(STEPS)
    play.step()
    first, *_, last = asked.asked
    assert (
        list(shown(first.groups[0]).values()) == list(first.role_classes[0].roles) == [f"r[{n}]" for n in range(1, 5)]
    )
    assert play.states(seq)["a[1]"] == "assigned"
    assert all(role != "r[1]" for alike in last.role_classes for role in alike.roles)


def test_each_value_goes_where_its_role_is_bound_and_all_that_go_to_one_machine_are_one_group(start: Start) -> None:
    asked = Classed(goes("m", "n"))
    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=asked)
    seq = play.submit(
        EACH + "tasks:\n"
        "  a: {type: step, machine: r, foreach: {n: 1..4}}\n"
        "  b: {type: play, machine: r, needs: ['a[${n}]'], foreach: {n: 1..4}}\n"
    )
    play.step()
    assert {name: row.machine for name, row in play.rows(seq).items() if row.machine} == {
        "a[1]": "m", "a[2]": "n", "a[3]": "m", "a[4]": "n",
    }  # fmt: skip
    for message in [*play.tasks]:
        play.end(message)
    play.step()
    later = [group for group in asked.asked[-1].groups if group.type == "play"]
    assert [(group.machine, list(group.tasks), group.unbound, group.own_roles) for group in later] == [
        ("m", [f"{seq}.4", f"{seq}.6"], None, ()),
        ("n", [f"{seq}.5", f"{seq}.7"], None, ()),
    ]
    play_on(play, seq)
    assert bound(play, seq) == {"r[1]": "m", "r[2]": "n", "r[3]": "m", "r[4]": "n"}
    assert all({row.machine for row in rows} == {where} for where, rows in _by_value(play, seq, bound(play, seq)))


def _by_value(play: Orchestra, seq: int, machines: dict[str, str]) -> list[tuple[str, list[Any]]]:
    rows = sorted(play.rows(seq).values(), key=lambda row: row.name[1:])
    return [(machines[f"r{value}"], list(those)) for value, those in groupby(rows, lambda row: row.name[1:])]


def test_a_role_that_is_bound_without_a_start_keeps_its_machine_and_its_task_goes_there(start: Start) -> None:
    asked = Classed(goes("m", "n", tasks=3, starts=False))
    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=asked)
    seq = play.submit(STEPS)
    play.step()
    second = asked.asked[1]
    assert [(group.machine, group.unbound, len(group.tasks)) for group in second.groups] == [
        (None, "r", 1), ("m", None, 2), ("n", None, 1),
    ]  # fmt: skip
    assert [list(alike.roles) for alike in second.role_classes] == [["r[4]"]]
    assert {row.machine for row in play.rows(seq).values()} == {"m", "n"}
    assert play.told(seq, "scheduler") == []
    play_on(play, seq)
    assert bound(play, seq) == {"r[1]": "m", "r[2]": "n", "r[3]": "m", "r[4]": "m"}


def test_a_task_that_is_refused_after_its_role_was_bound_waits_for_that_machine(start: Start) -> None:
    asked = Classed(goes("m"))
    play = start(machine("m", labels=("x",), cpus=2), scheduler=asked)
    seq = play.submit(EACH + "tasks: {a: {type: play, machine: r, foreach: {n: 1..3}}}")
    play.step()
    assert bound(play, seq) == {"r[1]": "m", "r[2]": "m", "r[3]": "m"}
    assert play.states(seq) == {"a[1]": "assigned", "a[2]": "assigned", "a[3]": "ready"}
    assert [(group.machine, len(group.tasks)) for group in asked.asked[-1].groups] == [("m", 1)]
    play_on(play, seq)


def test_tasks_that_wait_for_the_same_roles_share_one_class(start: Start) -> None:
    asked = Classed(goes("m", "n", tasks=2))
    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=asked, slots=8)
    seq = play.submit(
        EACH + "tasks:\n"
        "  a: {type: step, machine: r, foreach: {n: [3, 1]}}\n"
        "  b: {type: play, machine: r, foreach: {n: [1, 3], k: [x, y]}}\n"
    )
    play.step()
    [alike] = asked.asked[0].role_classes
    assert list(alike.roles) == ["r[3]", "r[1]"], "as they come first"
    assert [list(group.own_roles) for group in asked.asked[0].groups] == [
        ["r[3]", "r[1]"], ["r[1]", "r[1]", "r[3]", "r[3]"],
    ]  # fmt: skip
    assert alike.groups == tuple(group.id for group in asked.asked[0].groups)
    assert bound(play, seq) == {"r[3]": "m", "r[1]": "n"}
    assert play.told(seq, "scheduler") == []
    play_on(play, seq)
    assert {name: row.machine for name, row in play.rows(seq).items()} == {
        "a[3]": "m", "a[1]": "n", "b[1,x]": "n", "b[1,y]": "n", "b[3,x]": "m", "b[3,y]": "m",
    }  # fmt: skip


def test_values_whose_tasks_will_ask_for_something_else_are_another_class(start: Start) -> None:
    asked = Classed(nothing)
    play = start(machine("m", labels=("x",), cpus=9), scheduler=asked)
    play.submit(
        EACH + "tasks:\n"
        "  a: {type: step, machine: r, foreach: {n: [1, 8, 2]}}\n"
        '  b: {type: play, machine: r, needs: [a], foreach: {n: [8, 1, 2], k: [1, 2]}, resources: {cpus: "${k}"}}\n'
        '  c: {type: play, machine: r, needs: [a], foreach: {n: [8]}, resources: {cpus: "${n}"}}\n'
    )
    play.step()
    found = {
        tuple(alike.roles): [need.resources.cpus for need in alike.needs] for alike in asked.asked[-1].role_classes
    }
    assert found == {("r[1]", "r[2]"): [0, 1, 2], ("r[8]",): [0, 1, 2, 8]}


def test_the_next_orchestrator_goes_on_with_the_roles_that_are_open(start: Start) -> None:
    asked = Classed(goes("n", "m", tasks=2, starts=False))
    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=asked)
    seq = play.submit("max_running: 1\n" + EACH + "tasks: {a: {type: step, machine: r, foreach: {n: 1..6}}}")
    play.orchestrator.step()
    assert list(bound(play, seq)) == ["r[1]", "r[2]"]
    play.lead()
    asked.asked.clear()
    play.step()
    assert {group.machine or group.unbound: len(group.tasks) for group in asked.asked[0].groups} == {
        "r": 4, "n": 1, "m": 1,
    }  # fmt: skip
    assert list(asked.asked[0].role_classes[0].roles) == [f"r[{n}]" for n in range(3, 7)]
    play_on(play, seq)
    assert {n: bound(play, seq)[f"r[{n}]"] for n in (1, 2)} == {1: "n", 2: "m"}


NEAR = """
machines: {r: {requires: {labels: [x]}, each: n}, put: {requires: {labels: [x]}, each: n}}
tasks:
  little: {type: carry, machine: a, also: nas}
  own: {type: carry, machine: put, also: nas, foreach: {n: 1..3}}
  join: {type: carry, machine: r, also: put, needs: [little, "own[${n}]"], foreach: {n: 1..3}}
  more: {type: carry, machine: r, also: a, foreach: {n: 1..3}, needs: ["join[${n}]"]}
"""


def test_the_columns_of_a_class_say_where_the_data_of_each_of_its_roles_are(start: Start) -> None:
    asked = Classed(goes("b", "c", tasks=1))
    play = start(
        machine("nas"), machine("a", labels=("x",)), machine("b", labels=("x",)), machine("c", labels=("x",)),
        scheduler=asked,
    )  # fmt: skip
    seq = play.submit(NEAR)
    play.step()
    sizes = {"own[1]": 5_000, "own[2]": 7_000, "own[3]": 0}
    for _ in range(9):
        for message in [message for message in play.tasks if message.task in sizes]:
            play.end(message, Outcome("done", outputs={"bytes": str(sizes[message.task])}))
        play.step()
    put = bound(play, seq)
    asked.answer, asked.asked[:] = nothing, []
    play.step().end("little", Outcome("done", outputs={"bytes": "100"}))
    play.step()
    snapshot = asked.asked[-1]
    expected = {f"r[{n}]": {put[f"put[{n}]"]: sizes[f"own[{n}]"], "a": 100} for n in (1, 2)} | {"r[3]": {"a": 100}}
    assert [list(alike.roles) for alike in snapshot.role_classes] == [["r[1]", "r[2]", "r[3]"]]
    assert {role.role: dict(role.data_bytes) for role in apart(snapshot).snapshot.roles} == expected
    asked.answer = goes(*(put[f"put[{n}]"] for n in (1, 2, 3)))
    play.clock.now_s += 61
    play_on(play, seq)
    near = fact(told(play, seq, "join[2]"), "bound_near")
    assert (near["role"], near["data_bytes"]) == ("r[2]", 7_000)
    assert near["machine"] == put["put[2]"]


def test_data_that_come_while_a_role_waits_are_shown_with_the_next_look(start: Start) -> None:
    asked = Classed(nothing)
    play = start(machine("nas"), machine("a", labels=("x",)), scheduler=asked)
    play.submit(
        EACH + "tasks:\n"
        "  up: {type: carry, machine: a, also: nas}\n"
        "  other: {type: step}\n"
        "  fill: {type: carry, machine: r, also: a, needs: [up, other], foreach: {n: 1..2}}\n"
        "  use: {type: step, machine: r, foreach: {n: 1..2}}\n"
    )
    play.step()
    assert len(asked.asked[-1].role_classes[0].data.roles) == 0
    seen = asked.asked[-1].role_classes[0].roles
    asked.answer = lambda snapshot: Decision([Assignment(snapshot.groups[0].tasks[0], "a")])
    play.clock.now_s += 61
    play.step().end("up", Outcome("done", outputs={"bytes": "4096"}))
    asked.answer = nothing
    play.step()
    data = asked.asked[-1].role_classes[0].data
    assert asked.asked[-1].role_classes[0].roles is seen
    assert (list(data.machines), list(data.roles), list(data.at), list(data.sizes)) == (
        ["a"], [0, 1], [0, 0], [4096, 4096],
    )  # fmt: skip


def test_roles_that_a_task_waits_for_at_once_are_shown_one_by_one_to_all_that_wait_for_them(start: Start) -> None:
    asked = Classed(nothing)
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit(
        "machines: {r: {requires: {labels: [x]}, each: n}, s: {requires: {labels: [x]}, each: n}}\n"
        "tasks:\n"
        "  a: {type: step, machine: r, foreach: {n: 1..4}}\n"
        "  b: {type: step, machine: r, also: s, foreach: {n: [2, 3]}}\n"
    )
    play.step()
    snapshot = asked.asked[-1]
    [alike] = snapshot.role_classes
    assert list(alike.roles) == ["r[1]", "r[4]"]
    assert sorted((role.role, len(role.groups)) for role in snapshot.roles) == [
        ("r[2]", 2), ("r[3]", 2), ("s[2]", 1), ("s[3]", 1),
    ]  # fmt: skip
    assert {task for group in snapshot.groups for task in group.tasks} == {f"{seq}.{idx}" for idx in range(6)}
    experiment = play.row(seq).id
    asked.answer = lambda _: Decision(bindings=[Binding(experiment, role, "m") for role in ("s[2]", "s[3]")])
    play.clock.now_s += 61
    play.orchestrator.step()
    asked.answer = nothing
    play.step()
    assert asked.asked[-1].roles == ()
    [alike] = asked.asked[-1].role_classes
    assert list(alike.roles) == ["r[1]", "r[2]", "r[3]", "r[4]"]
    asked.answer = goes("m")
    play.clock.now_s += 61
    play_on(play, seq)


def test_a_plain_role_is_bound_before_the_values_of_an_each_are_taken_together(start: Start) -> None:
    asked = Classed(nothing)
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit(
        "machines: {p: {requires: {labels: [x]}}, r: {requires: {labels: [x]}, each: n}}\n"
        "tasks: {a: {type: step, machine: p, also: r, foreach: {n: 1..3}}}"
    )
    play.step()
    assert [role.role for role in asked.asked[-1].roles] == ["p", "r[1]", "r[2]", "r[3]"]
    assert len(asked.asked[-1].roles[0].groups) == 3
    experiment = play.row(seq).id
    asked.answer = lambda _: Decision(bindings=[Binding(experiment, "p", "m")])
    play.clock.now_s += 61
    play.orchestrator.step()
    asked.answer = nothing
    play.step()
    [group] = asked.asked[-1].groups
    assert (group.machine, group.touches, group.unbound) == ("m", ("m",), "r")
    assert list(group.own_roles) == ["r[1]", "r[2]", "r[3]"]
    asked.answer = goes("m")
    play.clock.now_s += 61
    play_on(play, seq)


@pytest.mark.parametrize("other", ["s: {requires: {labels: [x]}}", "s: {requires: {labels: [x]}, each: n}"])
@pytest.mark.parametrize("name", ["fifo", "matchmaking"])
def test_of_tasks_that_wait_for_several_roles_at_once_no_more_are_shown_than_can_start(
    start: Start, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    monkeypatch.setattr("wlmctl.orchestrator.placing.VIEW", 2)
    asked = Classed(scheduler_factory(name)({}).assign)
    play = start(machine("m", labels=("x",), cpus=9), scheduler=asked, slots=2)
    seq = play.submit(
        f"machines: {{r: {{requires: {{labels: [x]}}, each: n}}, {other}}}\n"
        "tasks:\n"
        "  a: {type: step, machine: r, also: s, foreach: {n: 1..9}}\n"
        "  b: {type: play, machine: r, also: s, foreach: {n: 1..9}, resources: {cpus: 2}}\n"
    )
    play.step()
    assert [len(group.tasks) for group in asked.asked[0].groups] == [1] * 4, "two of each task"
    play_on(play, seq, 40)
    assert set(bound(play, seq).values()) == {"m"}
    assert play.told(seq, "scheduler") == []


def test_a_decision_that_is_thrown_away_leaves_the_class_as_it_was(start: Start) -> None:
    def half(snapshot: Snapshot) -> Decision:
        found = [Binding(alike.experiment, role, "n") for alike in snapshot.role_classes for role in alike.roles]
        return Decision([None], found)  # type: ignore[list-item]

    play = start(machine("m", labels=("x",)), machine("n", labels=("x",)), scheduler=Classed(half))
    seq = play.submit(STEPS)
    play.step()
    assert set(bound(play, seq).values()) == {"m", "n"}, "fifo takes all that fit in turn"
    play_on(play, seq)


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        (Binding("?", "r[9]", "m"), "binding of r[9] to m: no such role or machine is open"),
        (Binding("?", "r", "m"), "binding of r to m: no such role or machine is open"),
        (Binding("?", "r[]0", "m"), "binding of r[]0 to m: no such role or machine is open"),
        (Binding("?", "r[1]", "s"), "binding of r[1] to s: it has no label x"),
    ],
)
def test_a_binding_that_is_none_of_the_class_or_does_not_fit_is_named(
    start: Start, binding: Binding, said: str
) -> None:
    def wrong(snapshot: Snapshot) -> Decision:
        return Decision(bindings=[Binding(snapshot.groups[0].experiment, binding.role, binding.machine)])

    play = start(machine("m", labels=("x",)), machine("s"), scheduler=Classed(wrong))
    seq = play.submit(STEPS)
    play_on(play, seq)
    assert said in play.told(seq, "scheduler")[0]


def test_why_a_class_waits_is_told_once_and_explained_for_each_of_its_tasks(start: Start) -> None:
    why = Reason("role", "nothing is good enough")
    asked = Classed(lambda snapshot: Decision(reasons={snapshot.groups[0].id: why}))
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit(STEPS)
    for _ in range(3):
        play.step(1)
    [waiting] = [event for event in events(play.others, seq) if event.kind == "waiting"]
    assert (waiting.reason, waiting.values["tasks"]) == (why.text, 4)
    assert why.text in text(play, seq, "a[3]")


def test_what_was_said_of_a_class_explains_those_that_still_wait_when_the_task_that_it_was_told_of_has_started(
    start: Start,
) -> None:
    def first_alone(snapshot: Snapshot) -> Decision:
        decision = goes("m", tasks=1)(snapshot)
        return replace(decision, reasons={group.id: Reason("odd", "the moon is full") for group in snapshot.groups})

    play = start(machine("m", labels=("x",)), scheduler=Classed(first_alone))
    seq = play.submit(EACH + "tasks: {a: {type: step, machine: r, foreach: {n: 1..40}}}")
    while len(bound(play, seq)) < 3:  # the one that it was told of among them
        play.orchestrator.step()
    waiting = [name for name, state in play.states(seq).items() if state == "ready"]
    assert play.told(seq, "waiting") == ["the moon is full"]
    assert {told(play, seq, name)["why"]["code"] for name in waiting} == {"odd"}


def test_an_open_role_whose_machines_are_all_full_is_explained_by_what_they_lack(start: Start) -> None:
    machines = [machine("m", cpus=2, labels=("x",)), machine("n", cpus=1, labels=("x",)), machine("far", cpus=9)]
    play = start(*machines, scheduler=scheduler_factory("matchmaking")({}))
    seq = play.submit(EACH + "tasks: {a: {type: play, machine: r, foreach: {n: 1..9}, resources: {cpus: 1}}}")
    play.step()
    assert len(bound(play, seq)) == 3
    found = told(play, seq, "a[9]")["why"]
    assert (found["code"], found["machines"]) == (
        "capacity",
        {"m": "it asks for 1 cpu, 0 of 2 are free", "n": "it asks for 1 cpu, 0 of 1 are free"},
    )


def test_what_was_said_of_a_class_does_not_explain_a_value_that_asks_for_something_else(start: Start) -> None:
    why = Reason("role", "nothing is good enough")
    asked = Classed(lambda snapshot: Decision(reasons={snapshot.groups[0].id: why}))
    play = start(machine("m", labels=("x",), cpus=9), scheduler=asked)
    seq = play.submit(
        EACH + "tasks:\n"
        "  a: {type: step, machine: r, foreach: {n: [1, 8, 2]}}\n"
        '  b: {type: play, machine: r, needs: [a], foreach: {n: [1, 8, 2], k: [1]}, resources: {cpus: "${k}"}}\n'
        '  c: {type: play, machine: r, needs: [a], foreach: {n: [8]}, resources: {cpus: "${n}"}}\n'
    )
    play.step(1)
    assert why.text in text(play, seq, "a[2]")
    assert why.text not in str(told(play, seq, "a[8]"))


@pytest.mark.parametrize("name", ["fifo", "matchmaking"])
def test_an_experiment_with_a_role_for_each_value_runs_to_its_end(start: Start, name: str) -> None:
    play = start(
        machine("m", labels=("x",), cpus=2), machine("n", labels=("x",), cpus=2),
        scheduler=scheduler_factory(name)({}),
    )  # fmt: skip
    seq = play.submit(
        EACH + "tasks:\n"
        "  a: {type: step, machine: r, foreach: {n: 1..9}}\n"
        "  b: {type: play, machine: r, needs: ['a[${n}]'], foreach: {n: 1..9}}\n"
        "  c: {type: play, machine: r, needs: [b], foreach: {n: 1..9}}\n"
    )
    play_on(play, seq, 40)
    machines = bound(play, seq)
    assert list(machines) == [f"r[{n}]" for n in range(1, 10)]
    assert all({row.machine for row in rows} == {where} for where, rows in _by_value(play, seq, machines))
    assert play.told(seq, "scheduler") == []


@pytest.mark.parametrize("name", ["fifo", "matchmaking"])
def test_priorities_and_max_running_hold_for_classes_too(start: Start, name: str) -> None:
    play = start(
        machine("m", labels=("x",), cpus=4), scheduler=scheduler_factory(name)({}), slots=2,
    )  # fmt: skip
    few = play.submit("max_running: 1\n" + STEPS)
    high = play.submit("priority: high\n" + STEPS)
    most, order = dict.fromkeys((few, high), 0), list[int]()
    for _ in range(30):
        play.step()
        for seq in most:
            most[seq] = max(most[seq], sum(state == "assigned" for state in play.states(seq).values()))
        order += [message.key.exp for message in play.tasks]
        for message in [*play.tasks]:
            play.end(message)
    assert most[few] == 1
    assert order.count(few) == order.count(high) == 4
    assert set(play.states(few).values()) == set(play.states(high).values()) == {"succeeded"}
    assert order.index(few) >= 3, "what is urgent goes first, but for a slot that it has no use for"


def test_an_experiment_that_stops_skips_the_tasks_of_a_class(start: Start) -> None:
    asked = Classed(goes("m", tasks=1))
    play = start(machine("m", labels=("x",), cpus=1), scheduler=asked, slots=1)
    seq = play.submit(
        "on_failure: stop\nmax_running: 1\n" + EACH + "tasks: {a: {type: play, machine: r, foreach: {n: 1..4}}}"
    )
    play.step().end("a[1]", FAILED)
    play.step()
    assert sorted(play.states(seq).values()) == ["failed", "skipped", "skipped", "skipped"]
    assert play.row(seq).state == "failed"


def test_a_retried_task_is_with_those_of_its_machine(start: Start) -> None:
    asked = Classed(goes("m", tasks=1))
    play = start(machine("m", labels=("x",)), scheduler=asked)
    seq = play.submit(EACH + "tasks: {a: {type: step, machine: r, retry: {limit: 1, delay: 5}, foreach: {n: 1..2}}}")
    play.step().end("a[1]", FAILED)
    asked.answer = nothing
    play.step(9)
    assert [(group.machine, list(group.tasks)) for group in asked.asked[-1].groups if group.machine] == [
        ("m", [f"{seq}.0"])
    ]
    asked.answer = goes("m")
    play.clock.now_s += 61
    play_on(play, seq)


def test_of_transfers_that_wait_for_a_class_only_so_many_are_shown_as_can_go(start: Start) -> None:
    asked = Classed(nothing)
    play = start(machine("nas"), machine("m", labels=("x",)), scheduler=asked, slots=2)
    play.submit(EACH + "tasks: {a: {type: carry, machine: r, also: nas, foreach: {n: 1..9}}}")
    play.step()
    [group], [alike] = asked.asked[-1].groups, asked.asked[-1].role_classes
    assert 0 < len(group.tasks) < 9
    assert len(group.tasks) == len(group.own_roles)
    assert alike.roles is group.own_roles
