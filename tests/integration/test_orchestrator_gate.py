"""Whatever happens in a random, faulty world: where the scheduler is not asked, it would have started nothing."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.orchestra import Orchestra
from tests.play import Clock, InterruptibleDatabase, inventory, machine, play_types
from tests.played_fleet import PlayedFleet
from tests.random_fleet import FleetWorld
from tests.random_world import World, random_experiment
from wlmctl.orchestrator.capacity import Capacity
from wlmctl.orchestrator.gate import Gate
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Snapshot

MACHINES = inventory(
    machine("local", cpus=3), machine("m", cpus=4, labels=("big",), max_jobs=2), machine("twin", cpus=4),
    machine("g", gpus=2),
)  # fmt: skip
LOGINS = {"m": "me@host:22", "twin": "me@host:22", "g": "me@gpu:22"}


@pytest.mark.parametrize("is_fleet", [False, True])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_nothing_that_could_start_waits_at_the_gate(is_fleet: bool, seed: int) -> None:
    chance, clock, fifo = Random(seed), Clock(), scheduler_factory("fifo")({})
    is_open = Gate.is_open

    def watched(gate: Gate, snapshot: Snapshot, capacity: Capacity, now: float) -> bool:
        if is_open(gate, snapshot, capacity, now):
            return True
        decision, owners = fifo.assign(snapshot), dict(snapshot.tasks())
        # a scheduler cannot know how much of one kind may be sent ahead: the check leaves out what is too early
        assert not [each for each in decision.assignments if not capacity.is_early(owners[each.task].id)]
        assert not decision.bindings
        return False

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        play_types(patch, clock)
        patch.setattr(Gate, "is_open", watched)
        play = (
            PlayedFleet(Path(folder), MACHINES, LOGINS, clock=clock, database=InterruptibleDatabase)
            if is_fleet
            else Orchestra(
                Path(folder), MACHINES, LOGINS, clock=clock, slots=chance.choice([1, 4]), database=InterruptibleDatabase
            )
        )
        play.others.execute("PRAGMA synchronous = OFF")
        try:
            world = FleetWorld(play, chance) if isinstance(play, PlayedFleet) else World(play, chance)
            world.submit(random_experiment(chance))
            world.submit(random_experiment(chance))
            for _ in range(chance.randint(10, 40)):
                world.something_happens()
            world.come_to_an_end()
        finally:
            play.close()
