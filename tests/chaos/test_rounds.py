"""Whatever is killed, stopped and cut: each task has one final state, each command ran once, and nothing is left."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.chaos.rounds import Round, Settings
from tests.chaos.site import Site, is_available, open_site

#: A round that has failed is played again by ``python -m tests.chaos --seed N``, or with this set to its seed.
SEED = int(os.environ.get("WLMCTL_TEST_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if not is_available():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chaos needs sshd and a RabbitMQ of its own")
    with open_site() as site:
        yield site


def play(site: Site, seed: int) -> None:
    outcome = Round(site, seed, Settings()).play()
    print(outcome.text())
    assert not outcome.wrong, f"python -m tests.chaos --seed {seed} --rounds 1: {outcome.text()}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(10))
def test_a_round_of_chaos_leaves_nothing_wrong(site: Site, number: int) -> None:
    play(site, SEED + number)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(10, 50))
def test_many_rounds_of_chaos_leave_nothing_wrong(site: Site, number: int) -> None:
    play(site, SEED + number)
