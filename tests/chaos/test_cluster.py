"""Jobs on a real Slurm through a fleet, each with a fault of its own: each command runs once, and its end is known."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.cluster.faults import Fault, draw
from tests.chaos.cluster.play import Play, Site
from tests.services.rabbitmq_api import Vhost
from tests.services.slurm import Slurm
from tests.services.sshd import Farm

#: What is drawn comes from it. A set that has failed is played again with it.
SEED = int(os.environ.get("WLMCTL_TEST_SEED") or random.SystemRandom().randrange(1_000_000))


def play(folder: Path, slurm: Slurm, cluster: Farm, vhost: Vhost, faults: Sequence[Fault]) -> None:
    outcome = Play(Site(folder, slurm, cluster, vhost.url), faults).play()
    print(outcome.text())
    assert not outcome.wrong, f"WLMCTL_TEST_SEED={SEED}: {outcome.text()}"


@pytest.mark.timeout(300)
def test_a_few_jobs_each_with_a_fault_end_right(tmp_path: Path, slurm: Slurm, cluster: Farm, vhost: Vhost) -> None:
    play(tmp_path, slurm, cluster, vhost, draw(random.Random(SEED), 8))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(4))
def test_many_jobs_each_with_a_fault_end_right(
    tmp_path: Path, slurm: Slurm, cluster: Farm, vhost: Vhost, part: int
) -> None:
    play(tmp_path, slurm, cluster, vhost, draw(random.Random(SEED), 200)[50 * part : 50 * part + 50])
