"""The loop of a connection to a store: what is broken off ends, what comes after does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest
from wlmctl_transport_fsspec.loop import OwnLoop


@pytest.fixture
def own() -> Iterator[OwnLoop]:
    own = OwnLoop()
    yield own
    own.end()


async def _closed() -> str:
    return "closed"


def test_what_waits_is_broken_off(own: OwnLoop) -> None:
    asked = asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), own.loop)
    asyncio.run_coroutine_threadsafe(_closed(), own.loop).result(60)
    own.break_off()
    with pytest.raises(CancelledError):
        asked.result(60)


def test_sessions_that_are_closed_right_after_it_are_closed_in_order(own: OwnLoop) -> None:
    both_wait = threading.Event()
    own.loop.call_soon_threadsafe(both_wait.wait, 60)
    own.break_off()
    closing = asyncio.run_coroutine_threadsafe(_closed(), own.loop)
    both_wait.set()
    assert closing.result(60) == "closed"
