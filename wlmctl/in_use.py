"""The connections that one piece of work uses, to be closed under it when it is to stop and cannot hear that.

A transport may wait for long: for a peer that has fallen silent, or for a digest that is computed at the far end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from wlmctl.errors import Unreachable

if TYPE_CHECKING:
    from wlmctl.transport import Transport

T = TypeVar("T")


class InUse:
    """Knows which connections are in use, and closes them by ``close``; safe over threads."""

    def __init__(self, close: Callable[[Transport], None]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._open: list[Transport] = []
        self.is_broken_off = False

    @contextmanager
    def using(self, transport: Transport) -> Iterator[None]:
        """The ``with`` uses this connection."""
        with self._lock:
            self._open.append(transport)
        try:
            yield
        finally:
            with self._lock:  # not while it is being closed: from here on it may be another's
                self._open.remove(transport)

    def close(self) -> None:
        """Close what is in use now: who waits for it gets an error at once."""
        with self._lock:
            self.is_broken_off |= bool(self._open)
            for transport in self._open:
                self._close(transport)

    def close_in(self, seconds: float) -> threading.Timer:
        """Close what is still in use by then, unless the timer is cancelled."""
        timer = threading.Timer(seconds, self.close)
        timer.daemon = True
        timer.start()
        return timer


@contextmanager
def soon(lent: AbstractContextManager[T], within_s: float) -> Iterator[T]:
    """What ``lent`` gives, or ``Unreachable`` where it takes too long: what comes too late is given back at once."""
    lock, entered = threading.Lock(), threading.Event()
    found: list[T] = []
    failed: list[BaseException] = []
    is_abandoned = False

    def enter() -> None:
        try:
            value = lent.__enter__()
        except BaseException as error:
            failed.append(error)
        else:
            with lock:
                if not is_abandoned:
                    found.append(value)
            if not found:
                lent.__exit__(None, None, None)
        entered.set()

    threading.Thread(target=enter, name="clearing", daemon=True).start()
    entered.wait(within_s)
    with lock:
        is_abandoned = not found
    if failed:
        raise failed[0]
    if is_abandoned:
        raise Unreachable(f"there was no connection within {within_s:g} s")
    try:
        yield found[0]
    except BaseException as error:
        if not lent.__exit__(type(error), error, error.__traceback__):
            raise
    else:
        lent.__exit__(None, None, None)
