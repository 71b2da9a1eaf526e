"""Questions and orders to the broker that a refusal may answer, on a channel of their own.

A passive declare of a missing queue closes its channel (404): here that is an answer, and the next step gets a new
channel. A script is a generator that yields steps and is sent what the broker said to each: its frame, or the
``ChannelClosed`` that came instead. One that a lost connection interrupts starts again on the next. A step that the
broker leaves unanswered is given up: RabbitMQ 3.10 can come back from a crash with a queue whose process is missing,
and whoever names that queue waits.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from pika import SelectConnection
from pika.channel import Channel
from pika.exceptions import ChannelClosed

from wlmctl.broker.contract import BrokerError
from wlmctl.broker.rabbitmq.link import TICK_S, Link

#: Asks one thing of an open channel, and has the answer given to the callback.
Step = Callable[[Channel, Callable[[Any], None]], None]

#: Yields steps, is sent ``frame.method`` or ``ChannelClosed``, returns what the errand was for.
Script = Generator[Step, Any, Any]

#: Ticks of the link without an answer after which a step is given up, and the code that its ``ChannelClosed`` has.
#: Ticks, and not seconds: a process that was stopped has not waited.
PATIENCE_TICKS, NO_ANSWER = 20, 408


@dataclass(frozen=True, slots=True)
class _Errand:
    make: Callable[[], Script]
    done: Callable[[Any], None]
    is_lasting: bool = True


class Errands:
    """One errand after the other (a ``Line`` of the link, served before the others)."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: deque[_Errand] = deque()
        self._current: _Errand | None = None
        self._script: Script | None = None
        self._step: Step | None = None
        self._connection: SelectConnection | None = None
        self._channel: Channel | None = None
        self._is_opening = False
        self._ticks = 0

    def ask(self, make: Callable[[], Script], done: Callable[[Any], None]) -> None:
        """Run the script as soon as there is a connection; on the link's thread."""
        self._add(_Errand(make, done))

    def _add(self, errand: _Errand) -> None:
        self._waiting.append(errand)
        self._next()

    def _drop(self, errand: _Errand) -> None:
        if errand in self._waiting:
            self._waiting.remove(errand)

    def begin(self, connection: SelectConnection, make: Callable[[], Script], done: Callable[[Any], None]) -> None:
        """A connection is there: run this script first, for this connection only, and then what waits."""
        self._waiting.appendleft(_Errand(make, done, is_lasting=False))
        self.up(connection)

    def answer(self, make: Callable[[], Script], timeout_s: float | None) -> Any:
        """Run the script from another thread and wait for what it returns. Raises ``BrokerError``."""
        if self._link.is_own_thread:
            raise RuntimeError("the broker's thread must not wait for itself")
        self._link.check()
        future: Future[Any] = Future()

        def tell(value: Any) -> None:
            if not future.done():
                (future.set_exception if isinstance(value, BrokerError) else future.set_result)(value)

        errand = _Errand(make, tell)
        self._link.call(lambda: self._add(errand))
        if not self._link.patiently(lambda left_s: bool(wait([future], left_s).done), timeout_s):
            self._link.call(lambda: self._drop(errand))  # else a long outage would leave one for each look
            raise BrokerError(f"no answer within {timeout_s:g} s: {self._link.waits_for()}")
        return future.result()

    def up(self, connection: SelectConnection) -> None:
        """A connection is there: begin, the interrupted errand first."""
        self._connection = connection
        self._next()

    def down(self, reason: str) -> None:
        """The connection is gone: what was under way starts again, or hears that there will be none."""
        self._connection = self._channel = self._script = self._step = None
        self._is_opening = False
        if self._current is not None and self._current.is_lasting:
            self._waiting.appendleft(self._current)
        self._current = None
        state = self._link.state
        if state.what in ("refused", "closed"):
            error = self._link.refusal or BrokerError(f"the broker's connection is closed: {reason}")
            while self._waiting:
                self._waiting.popleft().done(error)

    def tick(self, now_s: float) -> None:  # noqa: ARG002 (the line's)
        """Give up a step that was not answered for long, though the connection is well."""
        if self._step is None or self._channel is None or self._link.is_blocked:
            return
        self._ticks += 1
        if self._ticks >= PATIENCE_TICKS:
            channel, self._channel, self._step = self._channel, None, None
            if channel.is_open:
                channel.close()
            self._advance(ChannelClosed(NO_ANSWER, f"the broker has not answered for {PATIENCE_TICKS * TICK_S:g} s"))

    def _next(self) -> None:
        if self._current is None and self._waiting and self._connection is not None:
            self._current = self._waiting.popleft()
            self._script = self._current.make()
            self._advance(None)

    def _advance(self, value: Any) -> None:
        assert self._script is not None
        assert self._current is not None
        try:
            self._ticks = 0
            self._step = self._script.send(value)
        except StopIteration as end:
            done = self._current.done
            self._current = self._script = self._step = None
            done(end.value)
            self._next()
        else:
            self._take_step()

    def _take_step(self) -> None:
        if self._step is None or self._connection is None:
            return
        if self._channel is not None:
            if self._channel.is_open:  # else its end, or the connection's, is told next
                self._step(self._channel, self._link.guard(functools.partial(self._answered, self._channel)))
        elif not self._is_opening and self._connection.is_open:
            self._is_opening = True
            self._connection.channel(on_open_callback=self._link.guard(self._opened))

    def _opened(self, channel: Channel) -> None:
        self._is_opening = False
        self._channel = channel
        channel.add_on_close_callback(self._link.guard(self._closed))
        self._take_step()

    def _answered(self, channel: Channel, frame: Any) -> None:
        if channel is self._channel:
            self._step = None
            self._advance(frame.method)

    def _closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        if isinstance(reason, ChannelClosed) and self._step is not None:
            self._step = None
            self._advance(reason)
