"""A scheduler that throws, hangs or answers nonsense is contained: fifo decides, and the event log says so once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import machine
from tests.waiting import wait_until
from wlmctl.errors import StoreOutage
from wlmctl.scheduler import Assignment, Binding, Decision, Reason, Reservation, Snapshot

Start = Callable[..., Orchestra]


@dataclass
class Says:
    """A scheduler that answers what the test says, and keeps what it was shown."""

    answer: Callable[[Snapshot], Any]
    asked: list[Snapshot] = field(default_factory=list)

    def assign(self, snapshot: Snapshot) -> Any:
        self.asked.append(snapshot)
        return self.answer(snapshot)


@dataclass
class Hangs:
    """A scheduler that does not answer before the test lets it, and then starts what is ready."""

    go_on: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def assign(self, snapshot: Snapshot) -> Decision:
        self.calls += 1
        self.go_on.wait(30)
        return Decision([Assignment(task, group.machine) for task, group in snapshot.tasks()])


def one(snapshot: Snapshot) -> str:
    return snapshot.groups[0].tasks[0]


def leave(_: Snapshot) -> Any:
    raise SystemExit(3)


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


def mutely(_: Snapshot) -> Any:
    raise Mute


def in_no_text(_: Snapshot) -> Any:
    raise ValueError("\ud800\x00\n" + "x" * 10_000)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (leave, "it raised SystemExit"),
        (mutely, "Mute: it cannot say what"),
        (in_no_text, "ValueError: \\ud800\\x00\\x0axxx"),
        (lambda s: Decision(itertools.repeat(Assignment("9.9", "local"))), "assignment of 9.9: not a ready task"),  # type: ignore[arg-type]
        (lambda s: Decision([Assignment(one(s), "local", ["w"])]), "TypeError"),  # type: ignore[arg-type]
        (lambda s: Decision([Assignment(one(s), None)]), "its machine is local"),
        (lambda s: Decision([(one(s), "local")]), "AttributeError"),  # type: ignore[list-item]
        (lambda s: Decision(look_again_s="soon"), "look_again_s is 'soon', expected a number of seconds"),  # type: ignore[arg-type]
        (lambda s: Decision(look_again_s=float("nan")), "look_again_s is nan"),
        (
            lambda s: Decision(reservations=[Reservation(one(s), "moon", 0.0)]),
            "reservation of moon for 1.0: no such machine, task or",
        ),
        (lambda s: Decision(reservations=[Reservation("1.x", "local", 0.0)]), "reservation of local for 1.x: no such"),
        (lambda s: Decision(reservations=[Reservation("1.0", "local", float("nan"))]), "no such machine, task or time"),
        (lambda s: Decision(bindings=[Binding("x", "y", "moon")]), "binding of y to moon: no such role or machine"),
    ],
)
def test_nonsense_is_named_once_and_fifo_decides(start: Start, answer: Callable[[Snapshot], Any], said: str) -> None:
    play = start(scheduler=Says(answer))
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, foreach: {n: 1..3}}}")
    for number in (1, 2, 3):
        play.step().end(f"a[{number}]")
    assert play.step().row(seq).state == "succeeded"
    [told] = play.told(seq, "scheduler")
    assert said in told
    assert len(told) < 1100
    assert_told_in_full(play.others, [seq])


@pytest.mark.parametrize(
    ("machines", "resources", "what"),
    [
        ({"cpus": 4}, "cpus: 3", "the machine has no room for it"),
        ({"memory_bytes": 4 << 30}, "memory: 3GiB", "the machine has no room for it"),
        ({"gpus": 4}, "gpus: 3", "the machine has no room for it"),
        ({"max_jobs": 1}, "cpus: 1", "the machine has no room for it"),
        ({"max_jobs": 1, "batch": "slurm"}, "cpus: 1", "the machine has no room for it"),
    ],
)
def test_no_capacity_is_exceeded_in_any_dimension(
    start: Start, machines: dict[str, Any], resources: str, what: str
) -> None:
    everything = Says(lambda s: Decision([Assignment(task, group.machine) for task, group in s.tasks()]))
    play = start(machine("m", **{"cpus": 8, "memory_bytes": 64 << 30, **machines}), scheduler=everything)
    seq = play.submit(f"tasks: {{j: {{type: play, machine: m, resources: {{{resources}}}, foreach: {{n: 1..2}}}}}}")
    assert play.step().states(seq) == {"j[1]": "assigned", "j[2]": "ready"}
    assert play.told(seq, "scheduler") == [f"played: assignment of j[2] to m: {what}"]


def test_dead_workers_with_ever_new_names_are_named_once(start: Start) -> None:
    names = (f"ghost-{number}" for number in itertools.count())
    play = start(scheduler=Says(lambda s: Decision([Assignment(one(s), "local", next(names))])))
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, foreach: {n: 1..3}}}")
    play.step().end("a[1]")
    play.step().end("a[2]")
    play.step()
    [told] = play.told(seq, "scheduler")
    assert "no live worker ghost-0; fifo decides instead" in told


def test_a_scheduler_that_hangs_is_left_behind_until_it_has_returned(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wlmctl.orchestrator.watched.LIMIT_S", 0.05)
    hangs = Hangs()
    play = start(scheduler=hangs)
    seq = play.submit("max_running: 1\ntasks: {a: {type: step, foreach: {n: 1..3}}}")
    other = play.submit("tasks: {b: {type: step}}")
    play.step().end("a[1]")
    play.step().end("a[2]")
    assert play.step().states(seq) == {"a[1]": "succeeded", "a[2]": "succeeded", "a[3]": "assigned"}
    wait_until(lambda: hangs.calls, "the scheduler is asked")
    assert hangs.calls == 1, "never a second call while the first one hangs"
    for each in (seq, other):
        assert play.told(each, "scheduler") == ["played: Hangs: no decision in 0.05 s; fifo decides instead"]
    hangs.go_on.set()
    play.orchestrator._dispatcher._policy._watched._limit_s = 60  # a busy host may need more than it had
    later = list[int]()

    def is_asked_again() -> bool:
        later.append(play.submit("tasks: {c: {type: step}}"))
        play.step()
        return hangs.calls > 1

    wait_until(is_asked_again, "the scheduler is asked again")
    assert {state for each in later for state in play.states(each).values()} == {"assigned"}
    assert play.told(later[-1], "scheduler") == [], "what it said too late was thrown away, what it says now counts"
    assert_told_in_full(play.others, [seq, other, *later])


def test_a_decision_whose_parts_hang_is_left_behind_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wlmctl.orchestrator.watched.LIMIT_S", 0.05)
    hung = threading.Event()

    def parts() -> Iterator[Assignment]:
        hung.wait(30)
        yield Assignment("1.0", "local")

    play = start(scheduler=Says(lambda _: Decision(parts())))  # type: ignore[arg-type]
    seq = play.submit("tasks: {a: {type: step}}")
    assert play.step().states(seq) == {"a": "assigned"}
    hung.set()


def test_a_reason_that_is_no_line_is_told_as_one(start: Start) -> None:
    play = start(scheduler=Says(lambda s: Decision(reasons={s.groups[0].id: Reason("worker", "a\nb\ud800")})))
    seq = play.submit("tasks: {a: {type: step}}")
    play.step()
    assert play.told(seq, "waiting") == ["a\\x0ab\\ud800"]


def test_a_cause_whose_figures_change_is_told_once_a_minute(start: Start) -> None:
    numbers = itertools.count()
    play = start(
        scheduler=Says(
            lambda s: Decision(reasons={g.id: Reason("slots", f"{next(numbers)} before it") for g in s.groups},
                               look_again_s=1)
        )
    )  # fmt: skip
    seq = play.submit("tasks: {a: {type: step}}")
    for _ in range(130):
        play.step(1)
    assert len(play.told(seq, "waiting")) == 3


def test_a_long_decision_shows_signs_of_life_and_ends_with_them(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wlmctl.orchestrator.watched.SIGN_S", 0.01)
    counting, beaten = threading.Event(), threading.Event()

    def slow(snapshot: Snapshot) -> Decision:
        counting.set()
        assert beaten.wait(60)
        return Decision([Assignment(one(snapshot), "local")])

    play = start(scheduler=Says(slow))
    beat = play.orchestrator._leasing.beat

    def beat_and_say() -> None:
        beat()
        if counting.is_set():
            beaten.set()

    monkeypatch.setattr(play.orchestrator._leasing, "beat", beat_and_say)
    seq = play.submit("tasks: {a: {type: step}}")
    assert play.step().states(seq) == {"a": "assigned"}
    assert play.told(seq, "scheduler") == []


def test_a_store_that_is_lost_while_a_decision_is_waited_for_is_no_fault_of_the_scheduler(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wlmctl.orchestrator.watched.SIGN_S", 0.01)
    hangs = Hangs()
    play = start(scheduler=hangs)
    lost = StoreOutage("the store is away")

    def lose() -> None:
        raise lost

    play.step()
    monkeypatch.setattr(play.orchestrator._leasing, "beat", lose)
    seq = play.submit("tasks: {a: {type: step}}")
    with pytest.raises(StoreOutage) as raised:
        play.orchestrator.step()
    assert raised.value is lost
    hangs.go_on.set()
    assert play.told(seq, "scheduler") == []
