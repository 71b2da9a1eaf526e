"""Whatever is killed, stopped and cut: each task has one final state, each command ran once, and nothing is left."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.chaos.rounds import Round, Settings
from tests.chaos.site import Site, is_available, open_site

#: Short rounds, since many other tests wait; the long ones are those of ``python -m tests.chaos``.
SHORT, FULL = Settings(faults=3, within_s=6.0, pace=0.5), Settings()

#: The seed of the first round. One that has failed is played again as its message says.
SEED = int(os.environ.get("WLMCTL_TEST_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if not is_available():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chaos needs sshd and a RabbitMQ of its own")
    with open_site() as site:
        yield site


def play(site: Site, seed: int, settings: Settings) -> None:
    outcome = Round(site, seed, settings).play()
    print(outcome.text())
    drawn = f"--faults {settings.faults} --within {settings.within_s:g} --pace {settings.pace:g}"
    again = f"python -m tests.chaos --seed {seed} --rounds 1 {drawn}"
    assert not outcome.wrong, f"{again}: {outcome.text()}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(10))
def test_a_round_of_chaos_leaves_nothing_wrong(site: Site, number: int) -> None:
    play(site, SEED + number, SHORT)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(10, 50))
def test_many_rounds_of_chaos_leave_nothing_wrong(site: Site, number: int) -> None:
    play(site, SEED + number, FULL)
