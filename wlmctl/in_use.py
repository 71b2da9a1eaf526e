"""The connections that one piece of work uses, to be closed under it when it is to stop and cannot hear that.

A transport may wait for long: for a peer that has fallen silent, or for a digest that is computed at the far end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from wlmctl.errors import Broken, Unreachable

if TYPE_CHECKING:
    from wlmctl.transport import Transport

T = TypeVar("T")

log = logging.getLogger(__name__)


class InUse:
    """Knows which connections are in use; safe over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Transport] = []
        self._closed: list[Transport] = []
        self.is_broken_off = False

    @contextmanager
    def using(self, transport: Transport) -> Iterator[None]:
        """The ``with`` uses this connection; it ends with ``Broken`` where that was closed meanwhile."""
        with self._lock:
            self._open.append(transport)
        try:
            yield
        except (Broken, Unreachable):
            self._done(transport)
            raise
        except BaseException as error:
            if self._done(transport):  # whoever lent it must not lend it again
                raise Broken("the connection was broken off") from error
            raise
        if self._done(transport):
            raise Broken("the connection was broken off")

    def _done(self, transport: Transport) -> bool:
        with self._lock:
            self._open.remove(transport)
            was_closed = transport in self._closed
            if was_closed:
                self._closed.remove(transport)
            return was_closed

    def close(self) -> None:
        """Close what is in use now: who waits for it gets an error at once."""
        with self._lock:
            doomed, self._closed = list(self._open), list(self._open)
            self.is_broken_off |= bool(doomed)
        for transport in doomed:
            try:
                transport.close()
            except Exception:  # a plugin's close; it is gone for us, however it went
                log.info("a connection did not close well", exc_info=True)

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
