"""When the scheduler is asked: at once, about what has come together, and not twice about the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import DONE, machine
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Assignment, Decision, Reservation, Scheduler, Snapshot

Start = Callable[..., Orchestra]


@dataclass
class Counted:
    """A scheduler that decides as fifo does, or as the test says, and remembers what it was asked."""

    answer: Callable[[Snapshot], Decision] = field(default_factory=lambda: scheduler_factory("fifo")({}).assign)
    asked: list[Snapshot] = field(default_factory=list)

    def assign(self, snapshot: Snapshot) -> Decision:
        self.asked.append(snapshot)
        return self.answer(snapshot)

    def count(self) -> int:
        """How often it was asked since the last time."""
        count = len(self.asked)
        self.asked.clear()
        return count


def test_a_lone_task_never_waits_for_others_however_many_came_before_it(start: Start) -> None:
    """The prototype handed on each of the first ten messages alone, and none at all after the tenth."""
    play = start()
    for _ in range(30):
        seq = play.submit("tasks: {a: {type: step}}")
        play.step()
        assert play.states(seq) == {"a": "assigned"}, "in the look that finds it"
        play.end("a")
    play.step()
    assert play.row(seq).state == "succeeded"


def test_what_comes_together_is_decided_on_together(start: Start) -> None:
    """The prototype decided on each of the first ten messages by itself."""
    counted = Counted()
    play = start(scheduler=counted, slots=12)
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..48}}}")
    play.step()
    assert counted.count() <= 2, "once to place what fits, at most once to say why the rest waits"
    for number in range(1, 25):
        play.end(f"a[{number}]")
    play.step()
    assert counted.count() == 1
    assert list(play.states(seq).values()).count("assigned") == 24
    assert_told_in_full(play.others, [seq])


def test_nothing_is_decided_while_nothing_can_be_placed(start: Start) -> None:
    counted = Counted()
    play = start(scheduler=counted)
    first = play.submit("tasks: {j: {type: play, resources: {cpus: 4}}}")
    second = play.submit("tasks: {j: {type: play, resources: {cpus: 2}, foreach: {n: 1..3}}}")
    play.step(1)
    counted.count()
    for _ in range(5):
        play.step(10)
    play.defer("j")
    play.step(1)
    assert counted.count() == 0, "the machine is as full as it was"
    play.answer(play.polls()[0], DONE)
    play.step()
    assert play.states(first) == {"j": "succeeded"}
    assert list(play.states(second).values()) == ["assigned", "assigned", "ready"]


def test_more_of_a_group_that_is_blocked_asks_nobody_and_a_new_group_is_given_its_reason(start: Start) -> None:
    counted = Counted()
    play = start(scheduler=counted)
    play.submit("tasks: {j: {type: play, resources: {cpus: 4}}}")
    growing = play.submit(
        "tasks: {s: {type: step, foreach: {n: 1..2}}, j: {type: play, needs: ['s[${n}]'], foreach: {n: 1..2}}}"
    )
    play.step()
    counted.count()
    other = play.submit("tasks: {j: {type: play, resources: {cpus: 3}}}")
    play.step()
    assert counted.count() == 1
    assert play.told(other, "waiting") == ["machine local has no room for it"]
    play.end("s[1]")
    play.step(1).step(1)
    assert counted.count() == 1, "its job is new"
    assert play.told(growing, "waiting") == [], "something of it goes on"
    play.end("s[2]")
    play.step(1).step(1)
    assert list(play.states(growing).values())[2:] == ["ready", "ready"]
    assert counted.count() == 0
    assert play.told(growing, "waiting") == ["machine local has no room for it"], "as it was said before"


def test_another_cause_of_waiting_is_asked_for(start: Start) -> None:
    counted = Counted()
    play = start(machine("m", cpus=1), scheduler=counted)
    play.submit("tasks: {j: {type: play, machine: m}}")
    waiting = play.submit("tasks: {j: {type: play, machine: m}}")
    play.step(1)
    assert play.told(waiting, "waiting") == ["machine m has no room for it"]
    counted.count()
    with play.others.transaction():
        play.others.execute("UPDATE experiments SET revision = revision + 1 WHERE seq = ?", (waiting,))
    play.step(1)
    assert counted.count() == 0, "read again, and the same"
    play.orchestrator._fleet.hold(play.db, "m", "no route to host", play.clock.now_s, play.clock.time())
    play.clock.now_s += 1
    play.step(0.1)
    assert counted.count() == 1, "it waits for the machine now, not for room on it"


def test_a_scheduler_that_lets_what_could_be_placed_wait_is_asked_when_it_has_aged(start: Start) -> None:
    counted = Counted(lambda _: Decision())
    play = start(scheduler=counted)
    play.submit("tasks: {a: {type: step}}")
    play.step()
    assert counted.count() == 1
    for _ in range(5):
        play.step(10)
    assert counted.count() == 0
    play.step(10)
    assert counted.count() == 1, "a minute later"


def test_a_scheduler_is_asked_again_when_it_said_so_and_wakes_the_leader(start: Start) -> None:
    counted = Counted(lambda _: Decision(look_again_s=0.3))
    play = start(scheduler=counted)
    play.submit("tasks: {a: {type: step}}")
    play.step()
    assert counted.count() == 1
    play.step(0.25)
    assert counted.count() == 0
    play.step(0.05)
    assert counted.count() == 1
    assert play.orchestrator._next_due({}, None, play.clock.time(), play.clock.now_s) == pytest.approx(
        play.clock.now_s + 0.3
    )


@pytest.mark.parametrize("name", ["fifo", "matchmaking"])
def test_a_change_of_priority_is_seen_by_the_next_decision(start: Start, name: str) -> None:
    scheduler: Scheduler = scheduler_factory(name)({})
    play = start(scheduler=scheduler, slots=1)
    play.submit("tasks: {a: {type: step, foreach: {n: 1..2}}}")
    low, high = (play.submit("tasks: {b: {type: step}}") for _ in range(2))
    play.step()
    with play.others.transaction():
        play.others.execute("UPDATE experiments SET priority = 9, revision = revision + 1 WHERE seq = ?", (high,))
    play.step().end("a[1]")
    play.step()
    assert (play.states(high), play.states(low)) == ({"b": "assigned"}, {"b": "ready"})


def test_reservations_are_carried_to_the_next_decision_while_their_tasks_wait(start: Start) -> None:
    def keep(snapshot: Snapshot) -> Decision:
        ready = [task for task, _ in snapshot.tasks()]
        return Decision(
            [Assignment(ready[-1], "local")], reservations=[Reservation(task, "local", 7.0) for task in ready[:2]]
        )

    counted = Counted(keep)
    play = start(scheduler=counted)
    seq = play.submit("tasks: {a: {type: step, foreach: {n: 1..3}}}")
    play.step().step(1).step(1)
    kept = [[each.task for each in snapshot.reservations] for snapshot in counted.asked]
    both = [f"{seq}.0", f"{seq}.1"]
    assert kept[:3] == [[], both, both[:1]], "one of them has been started"
    assert {each.from_s for each in counted.asked[1].reservations} == {7.0}
