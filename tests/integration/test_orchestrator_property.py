"""Random experiments in a random, faulty world: whatever happens, the guarantees hold and the log tells it all."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import Clock, InterruptibleDatabase, inventory, machine, play_types
from tests.played_fleet import PlayedFleet
from tests.random_fleet import FleetWorld
from tests.random_world import World, random_experiment
from wlmctl.experiment import from_document
from wlmctl.experiment.model import Experiment
from wlmctl.states import EXPERIMENT_FINAL, EXPERIMENT_TRANSITIONS, FINAL, TASK_TRANSITIONS, ExperimentState, TaskState
from wlmctl.store import experiments
from wlmctl.store.events import events

MACHINES = inventory(
    machine("local", cpus=3), machine("m", cpus=4, labels=("big",)), machine("twin", cpus=4), machine("g", gpus=2)
)
#: Two names of one login: they share its capacity.
LOGINS = {"m": "me@host:22", "twin": "me@host:22", "g": "me@gpu:22"}


@pytest.mark.parametrize("_", range(4))  # so that several processes can share the work
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_the_guarantees_hold(_: int, seed: int) -> None:
    chance, clock = Random(seed), Clock()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        play_types(patch, clock)
        play = Orchestra(Path(folder), MACHINES, LOGINS, clock=clock, slots=chance.choice([1, 4]),
                         database=InterruptibleDatabase)  # fmt: skip
        play.others.execute("PRAGMA synchronous = OFF")
        try:
            world = World(play, chance)
            for _number in range(chance.randint(1, 2)):
                world.submit(random_experiment(chance))
            for _number in range(chance.randint(10, 80)):
                world.something_happens()
                world.assert_nothing_is_exceeded()
            world.come_to_an_end()
            for seq in world.seqs:
                assert_ended(play, seq)
                assert_history(play, seq)
            assert_told_in_full(play.others, world.seqs)
        finally:
            play.close()


@pytest.mark.parametrize("_", range(2))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_to_a_fleet_the_guarantees_hold(_: int, seed: int) -> None:
    chance, clock = Random(seed), Clock()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        play_types(patch, clock)
        play = PlayedFleet(Path(folder), MACHINES, LOGINS, clock=clock, database=InterruptibleDatabase,
                           lease_s=chance.choice([5.0, 30.0]))  # fmt: skip
        play.others.execute("PRAGMA synchronous = OFF")
        try:
            world = FleetWorld(play, chance)
            for _number in range(chance.randint(1, 2)):
                world.submit(random_experiment(chance))
            for _number in range(chance.randint(10, 60)):
                world.something_happens()
                world.assert_nothing_is_exceeded()
            world.come_to_an_end()
            for seq in world.seqs:
                assert_ended(play, seq)
                assert_history(play, seq)
            assert_told_in_full(play.others, world.seqs)
        finally:
            play.close()


def assert_ended(play: Orchestra, seq: int) -> None:
    """Everything is final, and nothing is taken of any machine any more."""
    assert ExperimentState(play.row(seq).state) in EXPERIMENT_FINAL
    for row in play.rows(seq).values():
        assert TaskState(row.state) in FINAL
        assert [row.site, row.cpus, row.memory_bytes, row.gpus, row.devices, row.nonce, row.handle] == [None] * 7


def assert_history(play: Orchestra, seq: int) -> None:
    """Only legal transitions; nothing ready before its needs, nothing started in a pause; no attempt skipped."""
    experiment = from_document(experiments.document(play.others, seq))
    states = dict.fromkeys(range(experiment.task_count), "waiting")
    attempts = dict.fromkeys(states, 0)
    state: str | None = None
    for event in events(play.others, seq):
        if event.kind == "experiment" and event.target is not None:
            assert event.source == state
            assert state is None or event.target in EXPERIMENT_TRANSITIONS[ExperimentState(state)]
            state = event.target
        if event.kind != "task" or event.task is None:
            continue
        before, after = TaskState(states[event.task]), TaskState(str(event.target))
        assert event.source == before
        assert after in TASK_TRANSITIONS[before]
        if before in FINAL:
            assert after == "waiting"
        if after == "ready" and before == "waiting":
            assert_needs_met(experiment, states, event.task)
        if after == "assigned":
            assert state == "running"
        if after == "ready" and before != "waiting":
            assert "attempt" not in event.values, "what is handed back spends no attempt"
        attempt = event.values.get("attempt", attempts[event.task])
        assert attempt - attempts[event.task] in (0, 1)
        assert attempt == attempts[event.task] or after == "waiting" or attempt == 1
        attempts[event.task], states[event.task] = attempt, str(event.target)


def assert_needs_met(experiment: Experiment, states: dict[int, str], idx: int) -> None:
    """The needs of a task, looked up one by one, without the counters of the orchestrator."""
    first: dict[str, int] = {}
    count = 0
    for template in experiment.templates:
        first[template.name] = count
        count += len(template.rows)
    sizes = {template.name: len(template.rows) for template in experiment.templates}
    template = next(t for t in reversed(experiment.templates) if first[t.name] <= idx)
    for need in template.needs:
        start = first[need.task]
        if need.which == "all":
            needed = list(range(start, start + sizes[need.task]))
        else:
            needed = [start + (idx - first[template.name] if need.which == "same" else need.which)]
        for other in needed:
            wanted = {"succeeded"} if need.how == "succeeded" else {"succeeded", "failed", "skipped"}
            assert states[other] in wanted, f"task {idx} is ready while {other} is {states[other]}"
