"""A store that loses the orchestrator's transactions: it reads everything again, and nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.losing_database import LosingDatabase
from tests.orchestra import WORKER, Orchestra, assert_told_in_full
from tests.play import FAILED, RUNNING, Clock, away, inventory, machine, play_types
from wlmctl.errors import StoreOutage
from wlmctl.machine import Machine
from wlmctl.message import CleanedMessage, CleanMessage, Outcome, ProbeMessage


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


Start = Callable[..., LosingOrchestra]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    clock = Clock()
    play_types(monkeypatch, clock)
    opened: list[LosingOrchestra] = []

    def begin(*machines: Machine) -> LosingOrchestra:
        play = LosingOrchestra(
            tmp_path,
            machines=inventory(*machines),
            clock=clock,
            database=LosingDatabase,
        )
        opened.append(play)
        return play

    yield begin
    for play in opened:
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
