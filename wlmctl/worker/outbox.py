"""What a worker says to the leader: at once where nothing is unconfirmed, else with all that comes meanwhile."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic

from wlmctl.broker.contract import Broker, Channel, Outgoing, TooLarge
from wlmctl.errors import WlmctlError
from wlmctl.message import bundle
from wlmctl.worker.dispatch import Dispatch

log = logging.getLogger(__name__)

#: The most messages, and bytes, of one bundle; a larger message travels alone.
BUNDLE, BUNDLE_BYTES = 500, 2**20

#: Seconds from one bundle to the next while more will end in a moment: each costs all who touch it, whatever is in it.
GATHER_S = 0.004

#: Seconds before it is said that a step has started: most end sooner, and their result says it.
STARTED_S = 0.02

#: Seconds between two looks for such steps: each at its own moment would mean a wake-up each.
LOOK_S = 0.01

#: Seconds before the broker is asked again to take what it did not take.
AGAIN_S = 1.0


class Parcel:
    """One encoded message. ``dispatch``: its delivery is acked when this is confirmed; ``confirmed`` must be quick."""

    __slots__ = ("body", "confirmed", "dispatch", "is_dropped", "is_single")

    def __init__(
        self, body: bytes, dispatch: Dispatch | None = None, confirmed: Callable[[], None] | None = None
    ) -> None:
        self.body, self.dispatch, self.confirmed = body, dispatch, confirmed
        self.is_dropped = self.is_single = False


class Outbox:
    """One line to the results, in order, with one unconfirmed bundle at a time. Nothing put here gets lost with a
    connection. ``is_busy`` says whether more is about to end, ``started`` gives the message that says so of a step;
    ``settled`` is told what is confirmed, ``too_large`` what can never be sent, both on the broker's thread.
    """

    def __init__(
        self,
        broker: Broker,
        channel: Channel,
        queue: str,
        *,
        is_busy: Callable[[], bool],
        started: Callable[[Dispatch], bytes],
        settled: Callable[[list[Dispatch]], None],
        too_large: Callable[[Parcel, str], None],
    ) -> None:
        self._broker, self._channel, self._queue = broker, channel, queue
        self._is_busy, self._started, self._settled, self._too_large = is_busy, started, settled, too_large
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[Parcel] = deque()
        self._later: deque[tuple[float, Dispatch]] = deque()
        self._again_s: float | None = None
        self._is_under_way = self._is_closed = False
        self._sender = 0
        self._sent_s = 0.0
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin to send what is not sent at once."""
        self._thread.start()

    def put(self, *parcels: Parcel) -> None:
        """Send these behind all others."""
        with self._changed:
            self._waiting.extend(parcels)
            if self._is_under_way:
                return
        self._pump()

    def put_started(self, dispatch: Dispatch) -> None:
        """Say that it has started, unless it ends within a moment."""
        with self._changed:
            self._later.append((dispatch.began_s + STARTED_S, dispatch))
            if len(self._later) == 1:
                self._changed.notify_all()

    def put_result(self, dispatch: Dispatch, body: bytes) -> None:
        """Say how it has ended; that it has started need not be said any more."""
        with self._changed:
            dispatch.is_answered = True
            if dispatch.started is not None:
                dispatch.started.is_dropped = True
            self._waiting.append(Parcel(body, dispatch))
            if self._is_under_way or self._is_early():
                return
        self._pump()

    def _is_early(self) -> bool:
        """True where more results will come before the thread looks, as it does soon while something is ``later``."""
        return bool(self._later) and self._is_busy() and monotonic() < self._sent_s + GATHER_S

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is confirmed; False after the time-out."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._is_closed or not (self._waiting or self._is_under_way), timeout_s
            )

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _pump(self) -> None:
        """Send what waits, if nothing is under way. The in-process broker answers before ``send`` returns."""
        me = threading.get_ident()
        while True:
            with self._changed:
                if self._sender == me:
                    self._sender = 0
                if self._is_under_way or self._again_s is not None or not (parcels := self._take()):
                    return
                self._is_under_way, self._sender, self._sent_s = True, me, monotonic()
            body = bundle([parcel.body for parcel in parcels])
            self._channel.send([Outgoing(self._queue, body, told=partial(self._told, parcels))])

    def _take(self) -> list[Parcel]:
        parcels, size_bytes, waiting = list[Parcel](), 0, self._waiting
        while waiting and len(parcels) < BUNDLE:
            parcel = waiting[0]
            size_bytes += len(parcel.body)
            if parcels and (parcel.is_single or size_bytes > BUNDLE_BYTES):
                break
            waiting.popleft()
            if not parcel.is_dropped:
                parcels.append(parcel)
                if parcel.is_single:
                    break
        return parcels

    def _told(self, parcels: list[Parcel], error: WlmctlError | None) -> None:
        if error is None:
            self._confirm(parcels)
        else:
            self._refused(parcels, error)
        with self._changed:
            self._is_under_way = False
            if not self._waiting:
                self._changed.notify_all()
            if self._is_early():
                return
            if self._sender == threading.get_ident():
                return  # it was answered within ``send``, whose loop goes on
        self._pump()

    def _confirm(self, parcels: list[Parcel]) -> None:
        self._said = ""
        dispatches = []
        for parcel in parcels:
            if parcel.dispatch is not None:
                dispatches.append(parcel.dispatch)
            if parcel.confirmed is not None:
                parcel.confirmed()
        if dispatches:
            self._settled(dispatches)

    def _refused(self, parcels: list[Parcel], error: WlmctlError) -> None:
        if isinstance(error, TooLarge) and len(parcels) == 1:
            self._too_large(parcels[0], str(error))
            return
        with self._changed:
            if self._is_closed or self._broker.state.what in ("refused", "closed"):
                return
            self._waiting.extendleft(reversed(parcels))
            if isinstance(error, TooLarge):  # one of them is
                for parcel in parcels:
                    parcel.is_single = True
                return
            if self._again_s is None:
                self._again_s = monotonic() + AGAIN_S
                self._changed.notify_all()
        if str(error) != self._said:
            self._said = str(error)
            log.warning("the broker does not take results now, they wait here: %s", error)

    def _run(self) -> None:
        """Send what had to wait for a while."""
        while True:
            with self._changed:
                if self._is_closed:
                    return
                now_s = monotonic()
                while self._later and self._later[0][0] <= now_s:
                    dispatch = self._later.popleft()[1]
                    if not dispatch.is_answered:
                        dispatch.started = parcel = Parcel(self._started(dispatch))
                        self._waiting.append(parcel)
                if self._again_s is not None and self._again_s <= now_s:
                    self._again_s = None
                dues_s = [due_s for due_s in (self._again_s, self._later[0][0] if self._later else None) if due_s]
                if not self._waiting or self._is_under_way or self._again_s is not None:
                    self._changed.wait(max(min(dues_s) - now_s, LOOK_S) if dues_s else None)
                    continue
            self._pump()
