"""A store that loses the orchestrator's transactions: it reads everything again, and nothing is lost or done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.losing_database import LosingDatabase
from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import FAILED, RUNNING, Clock, away, inventory, machine, play_types
from tests.played_fleet import PlayedFleet
from wlmctl.errors import StoreOutage, UnknownPlugin
from wlmctl.host import this_process
from wlmctl.machine import Machine
from wlmctl.message import CleanedMessage, CleanMessage, GrantMessage, Outcome, ProbeMessage
from wlmctl.retry import retry
from wlmctl.runtime.clean import forget
from wlmctl.scheduler import Assignment, Decision, Scheduler, Snapshot
from wlmctl.store import machines, permits
from wlmctl.traffic import SHARE


class LosingOrchestra(Orchestra):
    """Steps as ``Orchestrator.run`` does: an outage is waited for."""

    def lead(self) -> None:
        super().lead()
        step = self.orchestrator.step

        def patient() -> None:
            try:
                step()
            except StoreOutage as lost:
                self.orchestrator._start_over(lost)

        self.orchestrator.step = patient  # type: ignore[method-assign]

    def lose(self) -> Orchestra:
        """The next transaction is lost."""
        assert isinstance(self.db, LosingDatabase)
        self.db.lose = 1
        return self

    def lose_at(self, text: str) -> Orchestra:
        """The next transaction that reads with this text is lost there."""
        assert isinstance(self.db, LosingDatabase)
        self.db.lose_at = text
        return self


class LosingFleet(LosingOrchestra, PlayedFleet):
    """The same of a fleet."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    play_types(monkeypatch, clock)
    return clock


Start = Callable[..., LosingOrchestra]


@pytest.fixture
def start(tmp_path: Path, clock: Clock) -> Iterator[Start]:
    opened: list[LosingOrchestra] = []

    def begin(*machines: Machine, scheduler: Scheduler | None = None) -> LosingOrchestra:
        play = LosingOrchestra(
            tmp_path,
            machines=inventory(*machines),
            scheduler=scheduler,
            clock=clock,
            database=LosingDatabase,
        )
        opened.append(play)
        return play

    yield begin
    for play in opened:
        play.close()


@pytest.fixture
def fleet(tmp_path: Path, clock: Clock) -> Iterator[LosingFleet]:
    play = LosingFleet(tmp_path, machines=inventory(machine("m")), clock=clock, database=LosingDatabase)
    yield play
    assert_told_in_full(play.others, [row[0] for row in play.others.rows("SELECT seq FROM experiments")])
    play.close()


def test_a_lost_dispatch_is_made_again_and_sent_once(start: Start) -> None:
    play = start()
    seq = play.submit("tasks: {a: {type: step}, b: {type: step, needs: [a]}}")
    play.lose().step(0.1)
    assert play.names() == ["a"]
    play.end("a")
    play.lose().step(0.1)
    assert play.names() == ["b"]
    play.end("b")
    play.lose().step(0.1)
    assert play.row(seq).state == "succeeded"
    assert_told_in_full(play.others, [seq])


def test_an_experiment_whose_reading_the_store_breaks_off_is_read_again_when_it_is_back(start: Start) -> None:
    play = start()
    seq = play.lose_at("SELECT document").submit("tasks: {a: {type: step}}")
    play.step(0.1)
    assert play.names() == ["a"]
    assert play.told(seq, "declined") == []


def test_a_dispatch_that_is_being_written_when_the_store_is_lost_fails_no_task(start: Start) -> None:
    play = start()
    b = "b: {type: step, needs: [a], text: '${tasks.a.outputs.e}'}"
    seq = play.submit(f"tasks: {{a: {{type: step, outputs: {{e: x}}}}, {b}}}")
    play.step(0.1)
    play.end("a", Outcome("done", outputs={"e": "one"}))
    play.lose_at("template, position, outputs").step(0.1)
    assert play.names() == ["b"]
    assert play.states(seq) == {"a": "succeeded", "b": "assigned"}
    assert play.rows(seq)["b"].attempt == 1


def test_a_result_that_came_in_a_lost_transaction_counts_once_and_what_runs_is_not_sent_again(start: Start) -> None:
    play = start()
    seq = play.submit("tasks: {a: {type: step}, b: {type: step}}")
    play.step(0.1)
    play.begin("b")
    play.end("a", FAILED)
    play.lose().step(0.1)
    assert play.states(seq)["a"] == "failed"
    assert play.names() == ["b"], "b is at work: its dispatch is not sent again"
    assert play.rows(seq)["b"].dispatch == 1
    assert play.told(seq, "late") == []
    assert_told_in_full(play.others, [seq])


def test_a_deferral_in_a_lost_transaction_is_kept_and_polled(start: Start) -> None:
    play = start(machine("m"))
    seq = play.submit("tasks: {a: {type: play, machine: m}}")
    play.step(0.1)
    play.defer("a")
    play.lose().step(0.1)
    assert play.states(seq) == {"a": "deferred"}
    (poll, *_) = play.polls()
    play.answer(poll, RUNNING)
    play.lose().step(5)
    assert play.states(seq) == {"a": "deferred"}
    assert play.polls(), "it is asked for again"


def test_an_order_to_end_that_was_lost_is_given_again(start: Start) -> None:
    play = start(machine("m"))
    seq = play.submit("tasks: {a: {type: play, machine: m, timeout: 10s}}")
    play.step(0.1)
    play.defer("a")
    play.step(0.1)
    play.ends()
    play.clock.now_s += 20
    play.lose().step(0.1)
    assert play.ends()
    assert play.states(seq) == {"a": "deferred"}


def test_a_probe_that_was_lost_is_sent_again(start: Start) -> None:
    play = start(machine("m"))
    play.submit("tasks: {a: {type: step, machine: m}}")
    play.step(0.1)
    play.end("a", away("m"))
    play.step(0.1)
    play.clock.now_s += 2
    play.lose().step(0.1)
    assert [order for order in play.orders if isinstance(order, ProbeMessage)]


def test_a_clean_up_that_was_lost_is_ordered_again_and_its_answer_counts(start: Start) -> None:
    play = start()
    seq = play.submit("clean: always\ntasks: {a: {type: step}}")
    play.step(0.1)
    play.end("a")
    play.lose().step(0.1)
    (order,) = [order for order in play.orders if isinstance(order, CleanMessage)]
    play.say(CleanedMessage(WORKER, order.machine.name, order.exp, ""))
    play.lose().step(0.1)
    assert play.row(seq).cleaned == 1
    assert_told_in_full(play.others, [seq])


def test_an_experiment_that_cannot_be_worked_on_says_so_though_the_store_has_lost_that(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = start()
    seq = play.submit("tasks: {a: {type: step}}")

    def unknown(name: str) -> Any:
        raise UnknownPlugin(f"no task type {name}")

    monkeypatch.setattr("wlmctl.plugins.task_type", unknown)
    play.lose().step(0.1)
    assert play.told(seq, "declined") == ["it cannot be worked on: no task type step"]


def test_a_hold_that_was_lost_is_in_the_store_as_soon_as_that_is_back(start: Start) -> None:
    play = start(machine("m"))
    play.submit("tasks: {a: {type: step, machine: m}}")
    play.step(0.1)
    play.end("a", away("m"))
    play.lose().step()
    assert list(machines.away(play.others)) == ["m"]


def test_why_a_task_waits_is_told_though_the_store_has_lost_it(start: Start) -> None:
    play = start()
    seq = play.submit("machines: {r: {requires: {labels: [x]}}}\ntasks: {a: {type: step, machine: r}}")
    play.lose().step(0.1)
    assert len(play.told(seq, "waiting")) == 1


class Losing:
    """A scheduler that is slow once, while the store is lost."""

    def __init__(self) -> None:
        self.db: Any = None
        self.is_over = threading.Event()

    def assign(self, snapshot: Snapshot) -> Decision:
        if not self.is_over.is_set():
            self.db.lose_at = "UPDATE leases"
            self.is_over.wait(10)
        return Decision(assignments=[Assignment(task, "local") for group in snapshot.groups for task in group.tasks])


def test_a_decision_that_an_outage_has_broken_off_is_made_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wlmctl.orchestrator.watched.SIGN_S", 0.01)
    scheduler = Losing()
    play = start(scheduler=scheduler)
    scheduler.db = play.db
    play.submit("tasks: {a: {type: step}}")
    play.step()
    scheduler.is_over.set()
    play.step(0.1)
    assert play.names() == ["a"]


def test_what_was_ordered_to_be_cleaned_is_ordered_of_another_though_the_store_has_lost_that(
    fleet: LosingFleet,
) -> None:
    first = fleet.worker("v", machines=("m",))
    seq = fleet.submit("clean: always\ntasks: {a: {type: step, machine: m}}")
    fleet.step(1)
    first.end("a")
    fleet.step(1)
    assert any(isinstance(order, CleanMessage) for order in first.orders)
    first.die()
    second = fleet.worker("w", machines=("m",))
    fleet.lose_at("UPDATE workers SET state").step(5)
    [order] = [order for order in second.orders if isinstance(order, CleanMessage)]
    second.say(CleanedMessage(second.id, order.machine.name, order.exp, ""))
    fleet.step()
    assert fleet.row(seq).cleaned == 1


def test_what_is_retried_while_it_is_being_cleaned_is_not_ordered_to_be_cleaned(fleet: LosingFleet) -> None:
    first = fleet.worker("v")
    seq = fleet.submit("clean: always\ntasks: {a: {type: step}}")
    fleet.step(1)
    first.end("a", FAILED)
    fleet.step(1)
    retry(fleet.others, seq, now_s=fleet.clock.time(), by="me")
    fleet.step(1)
    first.die()
    second = fleet.worker("w")
    fleet.step(5)
    assert fleet.row(seq).state == "running"
    assert [order for order in second.orders if isinstance(order, CleanMessage)] == []


def test_what_is_forgotten_while_it_is_being_cleaned_is_waited_for_no_longer(start: Start) -> None:
    play = start()
    seq = play.submit("clean: always\ntasks: {a: {type: step}}")
    play.step(0.1)
    play.orchestrator._leasing._held[seq] = play.orchestrator._leasing._all[0]
    play.end("a")
    play.step(0.1)
    assert not play.orchestrator.is_finished()
    forget(play.others, play.row(seq))
    play.step(0.1)
    assert play.orchestrator.is_finished()


def test_a_quarantine_that_was_lost_costs_one_more_worker_and_not_three(fleet: LosingFleet) -> None:
    fleet.worker("v", machines=("local",))
    seq = fleet.submit("tasks: {a: {type: step}, b: {type: step, machine: m}}")
    fleet.step()
    kills = 0
    while fleet.states(seq)["a"] != "failed" and kills < 6:
        [victim] = [worker for worker in fleet.workers if not worker.is_dead and "a" in worker.names()]
        victim.begin("a")
        fleet.step(1)
        victim.die()
        fleet.worker(f"next{kills}", machines=("local",))
        kills += 1
        (fleet.lose_at("UPDATE workers SET state") if kills == 3 else fleet).step(4)
    assert (fleet.states(seq)["a"], kills) == ("failed", 4)


def test_who_shares_a_bandwidth_is_told_among_how_many_though_the_store_has_lost_that(fleet: LosingFleet) -> None:
    worker = fleet.worker("v")
    fleet.step()
    with fleet.others.transaction():
        assert permits.take(fleet.others, "copy", f"{SHARE}me@m:22", 1000, this_process(), worker=worker.id)
    worker.permits = ["copy"]
    fleet.clock.now_s += 2
    fleet.lose().step(2)
    assert [order.sharing for order in worker.orders if isinstance(order, GrantMessage)] == [{f"{SHARE}me@m:22": 1}]


def test_a_store_that_takes_no_end_of_a_lease_hides_nothing(start: Start) -> None:
    play, stop = start(), threading.Event()
    stop.set()
    play.db.execute("PRAGMA query_only = 1")
    play.orchestrator.run(stop)
