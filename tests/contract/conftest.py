"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers import KINDS, Bench
from wlmctl.broker.contract import Broker


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """One broker of each kind in turn, with nothing in it."""
    bench = Bench(request.param, request)
    yield bench
    bench.close()


@pytest.fixture
def broker(bench: Bench) -> Broker:
    """The same as its users see it."""
    broker: Broker = bench.broker
    return broker
