"""The one connection of a process to RabbitMQ, and the thread that owns it: it never executes a task.

What lives on the connection is a ``Line``: told when a connection is up, told when it is gone. Other threads reach
this one by ``call``; calls that come together cross together. An exception in a callback is logged and costs the
connection, never the thread.
"""

from __future__ import annotations

import functools
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pika import SelectConnection

from wlmctl.broker.contract import BrokerError, BrokerRefused, LinkState
from wlmctl.broker.rabbitmq.bursts import BurstServices
from wlmctl.broker.rabbitmq.closures import Closures
from wlmctl.broker.rabbitmq.contents import Contents
from wlmctl.broker.rabbitmq.crossing import Crossing
from wlmctl.broker.rabbitmq.faults import Fault, connection_fault
from wlmctl.broker.rabbitmq.line import Line
from wlmctl.broker.rabbitmq.outage import Outage
from wlmctl.broker.rabbitmq.settings import RabbitSettings, parameters
from wlmctl.broker.rabbitmq.silence import Silence

log = logging.getLogger(__name__)

#: Seconds between two attempts: the first, and the most; each is up to half as long again, so that many clients spread.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

#: Seconds between two ticks of the lines.
TICK_S = 0.5

#: Seconds the broker gets to answer a close.
CLOSE_S = 1.0

#: Seconds that another thread waits at once, before it looks whether the link has ended meanwhile.
LONGEST_WAIT_S = 1.0

T = TypeVar("T")


class Link:
    """A connection that comes back by itself."""

    def __init__(self, settings: RabbitSettings) -> None:
        self.settings, self.address = settings, settings.address()
        self.connection: SelectConnection | None = None
        self.contents = Contents()
        self.closures = Closures()
        self.is_blocked = False
        self.refusal: BrokerRefused | None = None
        self._prepare: Callable[[Callable[[], None]], None] = lambda ready: ready()
        self._lines: list[Line] = []
        self._crossing = Crossing(lambda function: self.guard(function)())
        self._changed = threading.Condition()
        self._state = LinkState("connecting")
        self._watchers: list[Callable[[LinkState], None]] = []
        self._services: BurstServices | None = None
        self._is_closing = self._is_ready = False
        self._silence = Silence(round((settings.heartbeat_s + 1) / TICK_S))
        self._fault = Fault("")
        self._outage = Outage(str(self.address), settings.refusal_grace_s)
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def start(self, prepare: Callable[[Callable[[], None]], None]) -> None:
        """Begin to connect. ``prepare(ready)`` is called at each connection; its ``ready()`` lets the lines go up."""
        self._prepare = prepare
        self._thread.start()

    @property
    def state(self) -> LinkState:
        """How it stands now."""
        return self._state

    @property
    def is_own_thread(self) -> bool:
        """True for code that runs on the link's thread, which must never wait for it."""
        return threading.current_thread() is self._thread

    def watch(self, told: Callable[[LinkState], None]) -> None:
        """Tell each later state."""
        self._watchers.append(told)

    def wait_connected(self, timeout_s: float | None) -> bool:
        """Wait for a connection; False after the time-out. Raises ``BrokerRefused`` and ``BrokerError``."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.is_up or self._state.what in ("refused", "closed"), timeout_s)
        self.check()
        return self._state.is_up

    def check(self) -> None:
        """Raise what makes all further waiting vain."""
        if self.refusal is not None:
            raise self.refusal
        if self._is_closing:
            raise BrokerError("the connection to the broker is closed")

    def patiently(self, wait: Callable[[float], T], timeout_s: float | None) -> T:
        """Call ``wait`` with a part of the time until it gives something true; raises what makes waiting vain."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = LONGEST_WAIT_S if end_s is None else end_s - time.monotonic()
            if (found := wait(max(0.0, min(left_s, LONGEST_WAIT_S)))) or left_s <= 0:
                return found
            self.check()

    def waits_for(self) -> str:
        """What a call that takes too long waits for."""
        reason = f": {self._state.reason}" if self._state.reason else ""
        return f"the broker {self.address} is {self._state.what}{reason}"

    def call(self, function: Callable[[], None]) -> None:
        """Run the function on the link's thread, also while there is no connection."""
        self._crossing.call(function)

    def attach(self, line: Line) -> None:
        """Serve a line; on the link's thread."""
        self._lines.append(line)
        if self._is_ready and self.connection is not None:
            line.up(self.connection)

    def detach(self, line: Line) -> None:
        """Serve it no more; on the link's thread."""
        if line in self._lines:
            self._lines.remove(line)

    def guard(self, function: Callable[..., None]) -> Callable[..., None]:
        """The function as a callback: what it raises is logged and costs the connection."""

        @functools.wraps(function)
        def guarded(*arguments: Any) -> None:
            try:
                function(*arguments)
            except Exception:
                log.exception("a bug in the broker's module: the connection is made again")
                self.drop(Fault("a bug in the broker's module, see the log"))

        return guarded

    def later(self, delay_s: float, function: Callable[[], None]) -> None:
        """Call the function after a while, if this connection is still there; on the link's thread."""
        if self._services is not None:
            self._services.call_later(delay_s, self.guard(function))

    def drop(self, fault: Fault) -> None:
        """Cut the connection and make a new one."""
        self._fault = fault
        if self._services is not None:
            self._services.cut()

    def wait_for(self, what: str) -> None:
        """There is a connection, but something is missing before it can be used; on the link's thread."""
        self._tell(self._outage.missing(what, self._state))

    def close(self, timeout_s: float = 5.0) -> None:
        """End the connection and the thread."""
        self._is_closing = True
        self.call(self._close)
        if not self.is_own_thread and self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        for attempt in itertools.count():
            self._connect_once(attempt)
            if self._is_closing or self.refusal is not None:
                break
            if self._is_ready:
                pause_s = FIRST_PAUSE_S
            self._is_ready = False
            self._idle(pause_s * random.uniform(1.0, 1.5))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._crossing.drain()
        if self.refusal is None:
            self._tell(LinkState("closed", epoch=self._state.epoch))
        self._down(str(self.refusal or "closed"))

    def _connect_once(self, attempt: int) -> None:
        """One attempt and, where it succeeds, the life of its connection."""
        if self._is_closing:
            return
        self._fault = Fault("")
        services = BurstServices()
        try:
            wanted = parameters(self.settings, self.address, attempt)
            connection = SelectConnection(
                wanted,
                on_open_callback=self.guard(self._opened),
                on_open_error_callback=self._lost,
                on_close_callback=self._lost,
                custom_ioloop=services,
            )
            connection.add_on_connection_blocked_callback(self.guard(self._blocked))
            connection.add_on_connection_unblocked_callback(self.guard(self._unblocked))
            self._services, self.connection, self.contents = services, connection, services.contents
            self._crossing.reach(services)
            services.run()
        except BrokerRefused as error:
            self._fault = Fault(str(error), is_refusal=True)
        except Exception:
            if not self._fault.text:  # else it was cut here, which pika's transport for TLS does not expect
                log.exception("a fault of the connection to the broker: it is made again")
                self._fault = Fault("a fault of the connection, see the log")
        was_up = self._is_ready
        self._ended(services)
        if not self._is_closing:
            self._judge(was_up)

    def _ended(self, services: BurstServices) -> None:
        self._crossing.reach(None)
        self._services, self.connection, self.is_blocked = None, None, False
        try:
            services.release()
        except Exception:
            log.debug("while a connection was put away", exc_info=True)
        self._down(self._fault.text or "closed")

    def _judge(self, was_up: bool) -> None:
        found = self._outage.judge(self._fault, self._state, was_up=was_up)
        if isinstance(found, BrokerRefused):
            self.refusal = found
            found = LinkState("refused", str(found), self._state.epoch)
        self._tell(found)

    def _idle(self, pause_s: float) -> None:
        """Wait for the next attempt, and meanwhile do what other threads ask."""
        end_s = time.monotonic() + pause_s
        while not self._is_closing and (left_s := end_s - time.monotonic()) > 0:
            if self._crossing.wait(left_s):
                self._crossing.drain()

    def _opened(self, connection: SelectConnection) -> None:
        self._prepare(self.guard(functools.partial(self._ready, connection)))
        self._tick(connection)

    def _ready(self, connection: SelectConnection) -> None:
        if connection is not self.connection:
            return
        self._is_ready = True
        self._outage.over(self._state)
        self._tell(LinkState("connected", epoch=self._state.epoch + 1))
        for line in list(self._lines):
            line.up(connection)

    def _lost(self, _connection: SelectConnection, error: BaseException | None) -> None:
        if not self._fault.text:
            self._fault = connection_fault(error, self.address)
        if self._services is not None:
            self._services.stop()

    def _blocked(self, _connection: SelectConnection, frame: Any) -> None:
        self.is_blocked = True
        log.warning("the broker takes no messages now (%s): publishing waits", frame.method.reason)
        self._tell(LinkState("blocked", frame.method.reason, self._state.epoch))

    def _unblocked(self, connection: SelectConnection, _frame: Any) -> None:
        self.is_blocked = False
        log.warning("the broker takes messages again")
        self._tell(LinkState("connected", epoch=self._state.epoch))
        if self._is_ready and connection is self.connection:
            for line in list(self._lines):
                line.tick(time.monotonic())

    def _tick(self, connection: SelectConnection) -> None:
        if self.connection is None or connection is not self.connection:
            return
        if self._is_ready and not self._silence.lasts(connection.bytes_received):
            for line in list(self._lines):
                line.tick(time.monotonic())
        self.later(TICK_S, functools.partial(self._tick, connection))

    def _down(self, reason: str) -> None:
        for line in list(self._lines):
            self.guard(line.down)(reason)

    def _close(self) -> None:
        if (services := self._services) is None or (connection := self.connection) is None:
            return
        if connection.is_open:
            services.call_later(CLOSE_S, services.stop)
            connection.close()
        else:
            services.stop()

    def _tell(self, state: LinkState) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
        for told in list(self._watchers):
            try:
                told(state)
            except Exception:
                log.exception("whoever watches the broker's state failed")
