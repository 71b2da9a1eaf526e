"""Needs, decided from counters."""

from __future__ import annotations

from wlmctl.experiment.model import Need, Template
from wlmctl.orchestrator.needs import Needs, Verdict
from wlmctl.states import TaskState as State


def setting(need, *states, count=2):
    """``b`` needs ``a``; the verdict for ``b[0]`` with ``a``'s instances in ``states``."""
    rows = [(str(number),) for number in range(len(states))]
    templates = [
        Template("a", "job", {}, keys=("n",), rows=rows),
        Template("b", "job", {}, keys=("n",), rows=rows[:count], needs=(need,)),
    ]
    needs = Needs(templates)
    for state in states:
        needs.tallies[0].count(state, 1)
    return needs.verdict(1, 0, [*states, State.WAITING, State.WAITING], [0, len(states)])


def test_all_must_succeed():
    assert setting(Need("a"), State.SUCCEEDED, State.SUCCEEDED) is Verdict.MET
    assert setting(Need("a"), State.SUCCEEDED, State.RUNNING) is Verdict.OPEN


def test_one_failure_is_enough_to_lose_the_need_at_once():
    assert setting(Need("a"), State.FAILED, State.RUNNING) is Verdict.LOST
    assert setting(Need("a"), State.SKIPPED, State.RUNNING) is Verdict.LOST


def test_ended_takes_failed_and_skipped_ones_but_waits_for_all():
    assert setting(Need("a", "ended"), State.FAILED, State.RUNNING) is Verdict.OPEN
    assert setting(Need("a", "ended"), State.FAILED, State.SKIPPED) is Verdict.MET


def test_ended_is_lost_after_a_cancel():
    assert setting(Need("a", "ended"), State.CANCELLED, State.SUCCEEDED) is Verdict.LOST


def test_a_partner_counts_alone():
    need = Need("a", "succeeded", "same")
    assert setting(need, State.SUCCEEDED, State.FAILED) is Verdict.MET
    assert setting(need, State.FAILED, State.SUCCEEDED) is Verdict.LOST


def test_one_named_instance_counts_alone():
    need = Need("a", "succeeded", 1)
    assert setting(need, State.FAILED, State.SUCCEEDED) is Verdict.MET
    assert setting(need, State.SUCCEEDED, State.RUNNING) is Verdict.OPEN


def test_an_end_concerns_its_partner_only():
    rows = [("1",), ("2",), ("3",)]
    needs = Needs(
        [
            Template("a", "job", {}, keys=("n",), rows=rows),
            Template("b", "job", {}, keys=("n",), rows=rows, needs=(Need("a", "succeeded", "same"),)),
            Template("c", "job", {}, needs=(Need("a"),)),
        ]
    )
    needs.tallies[0].count(State.SUCCEEDED, 1)
    assert needs.concerned(0, 1) == [(1, 1)]
    needs.tallies[0].count(State.SUCCEEDED, 1)
    needs.tallies[0].count(State.SUCCEEDED, 1)
    assert needs.concerned(0, 2) == [(1, 2), (2, None)]
