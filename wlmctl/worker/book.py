"""The dispatches that a worker has, each from its delivery until its result is confirmed, and who is to begin next."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Collection, Iterable, Sequence
from time import monotonic

from wlmctl.message import TaskKey, TaskMessage
from wlmctl.worker.dispatch import Dispatch, Stage

#: Seconds within which a step is instant: whoever begins so many takes what has come before another slot has woken.
INSTANT_S = 0.0002


#: What waits, by priority and then in order.
_Line = list[tuple[int, int, Dispatch]]


class Book:
    """All dispatches of a worker; safe over threads. Higher priority begins first, then what came first.

    Of two ``slots`` or more one is kept free of what moves data. What a task type gathers is begun together, by one
    slot.
    """

    def __init__(self, slots: int) -> None:
        self._most_moving = max(1, slots - 1)
        self._moving = 0
        self._changed = threading.Condition(threading.Lock())
        self._all: dict[tuple[TaskKey, str], Dispatch] = {}
        #: What waits: first what moves no data, then what does.
        self._lines: tuple[_Line, _Line] = ([], [])
        #: What waits to be executed together, and what of it is under way: one company of a name at a time, so that
        #: the next one gathers meanwhile.
        self._gathering: dict[tuple[str, str], _Line] = {}
        self._under_way: set[tuple[str, str]] = set()
        self._order = itertools.count()
        self._waiting = self._executing = self._idle = 0
        self._alone: Dispatch | None = None
        self._epoch = 0
        self._is_closed = self._is_called = False
        self._began_s = 0.0
        self._looked_s, self._taken_then = 0.0, 0
        self._mark = 0  # the newest on this connection
        #: How many dispatches slots have begun with.
        self.taken = 0

    def knows(self, message: TaskMessage) -> bool:
        """True for a dispatch that is here already: it will be answered once."""
        return (message.key, message.nonce) in self._all

    def has_begun(self, message: TaskMessage) -> bool:
        """True for a dispatch whose execution here has begun."""
        found = self._all.get((message.key, message.nonce))
        return found is not None and found.has_begun

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return self._waiting

    @property
    def wants_to_be_alone(self) -> bool:
        """True from the arrival of a dispatch that is to be alone until its end."""
        return self._alone is not None

    def is_empty(self) -> bool:
        """True when nothing is here, nor on its way out."""
        return not self._all

    def add(self, arrived: Sequence[Dispatch]) -> None:
        """These have come; what belongs to a lost connection is left out."""
        with self._changed:
            for dispatch in arrived:
                if dispatch.delivery.epoch < self._epoch:
                    continue
                message = dispatch.message
                before = self._all.get((message.key, message.nonce))
                if before is not None and before.stage is Stage.WAITING:  # of a connection that is lost
                    self._leave(before)
                self._all[message.key, message.nonce] = dispatch
                self._waiting += 1
                if message.alone and self._alone is None:
                    self._alone = dispatch
                else:
                    heapq.heappush(self._line_of(dispatch), (-message.priority, next(self._order), dispatch))
            if self._idle and not self._is_called and (not self._executing or not self._is_instant()):
                self._is_called = True
                self._changed.notify()

    def _line_of(self, dispatch: Dispatch) -> _Line:
        if dispatch.company is None:
            return self._lines[dispatch.moves]
        return self._gathering.setdefault(dispatch.company, [])

    def _is_instant(self) -> bool:
        return monotonic() - self._began_s < INSTANT_S

    @property
    def is_held_up(self) -> bool:
        """True while slots are idle that could begin with something: ``spread`` is to be called."""
        return self._waiting > 0 and self._idle > 0 and self._alone is None and bool(self._foremost())

    def _foremost(self) -> _Line:
        """The line whose first is to begin next; empty where as much moves data, or is gathered, as may."""
        still, moving = self._lines
        found = still
        if moving and self._moving < self._most_moving and not (still and still[0] < moving[0]):
            found = moving
        for name, line in self._gathering.items():
            if line and name not in self._under_way and not (found and found[0] < line[0]):
                found = line
        return found

    def spread(self) -> None:
        """Wake the idle slots for what waits, unless a slot is about to take it: what has come a moment ago, or while
        all that the others do is instant. More slots would only be in one another's way."""
        with self._changed:
            now_s = monotonic()
            begun, spent_s = self.taken - self._taken_then, now_s - self._looked_s
            self._looked_s, self._taken_then = now_s, self.taken
            is_taken_soon = self._is_instant() if self._executing else self._is_called
            if not is_taken_soon and begun * INSTANT_S < spent_s:
                self._changed.notify(min(self._waiting, self._idle))

    def marked(self, number: int, epoch: int) -> None:
        """All that was delivered before this mark is in the book."""
        with self._changed:
            if epoch >= self._epoch:
                self._mark = max(self._mark, number)

    def next(self, *ended: Dispatch) -> Dispatch | None:
        """The dispatch that a slot is to begin with, after what it has ended; None at the end."""
        with self._changed:
            for each in ended:
                self._end(each)
            while not self._is_closed:
                if (found := self._pop()) is not None:
                    found.stage, found.has_begun = Stage.BEGUN, True
                    found.began_s = self._began_s = monotonic()
                    self.taken += 1
                    self._waiting -= 1
                    self._executing += 1
                    self._moving += found.moves
                    if found.company is not None:
                        self._under_way.add(found.company)
                    return found
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
                self._is_called = False
        return None

    def _pop(self) -> Dispatch | None:
        if (alone := self._alone) is not None:
            return alone if alone.stage is Stage.WAITING and not self._executing else None
        while line := self._foremost():
            found = heapq.heappop(line)[2]
            if found.stage is Stage.WAITING:
                return found
        return None

    def gathered(self, first: Dispatch) -> int:
        """How many wait that could be executed together with ``first``, as far as can be seen."""
        with self._changed:
            return len(self._gathering.get(first.company, ())) if first.company is not None else 0

    def along(self, first: Dispatch, most: int) -> list[Dispatch]:
        """Others, at most so many, that begin now in the slot of ``first``; they are over when it ends."""
        found = list[Dispatch]()
        with self._changed:
            line = self._gathering.get(first.company, []) if first.company is not None else []
            while line and len(found) < most and self._alone is None and not self._is_closed:
                dispatch = heapq.heappop(line)[2]
                if dispatch.stage is Stage.WAITING:
                    dispatch.stage, dispatch.has_begun, dispatch.is_led = Stage.BEGUN, True, True
                    dispatch.began_s = monotonic()
                    found.append(dispatch)
            self.taken += len(found)
            self._waiting -= len(found)
        return found

    def _end(self, ended: Dispatch) -> None:
        ended.stage = Stage.OVER
        if ended.is_led:
            return
        self._executing -= 1
        if ended.company is not None:
            self._under_way.discard(ended.company)
            if self._gathering[ended.company] and self._idle:  # as below
                self._changed.notify()
        if ended.moves:
            self._moving -= 1
            if self._lines[True] and self._idle:  # this slot may go on with something else
                self._changed.notify()
        if self._alone is not None:
            if self._alone is ended:
                self._alone = None
            self._changed.notify_all()

    def begun(self) -> list[Dispatch]:
        """What executes."""
        with self._changed:
            return [dispatch for dispatch in self._all.values() if dispatch.stage is Stage.BEGUN]

    def take_back(
        self, *, keys: Collection[TaskKey] | None = None, queues: Collection[str] | None = None,
        before_s: float | None = None, but_alone: bool = False, but_ends: bool = False,
    ) -> list[Dispatch]:  # fmt: skip
        """Strike out what has not begun: all, or of these keys or queues, or what came before a moment."""
        with self._changed:
            found = [
                dispatch
                for dispatch in self._all.values()
                if dispatch.stage is Stage.WAITING
                and (keys is None or dispatch.message.key in keys)
                and (queues is None or dispatch.delivery.queue in queues)
                and (before_s is None or dispatch.arrived_s < before_s)
                and not (but_alone and dispatch is self._alone)
                and not (but_ends and dispatch.message.cancel)
            ]
            for dispatch in found:
                self._leave(dispatch)
        return found

    def _leave(self, dispatch: Dispatch) -> None:
        del self._all[dispatch.message.key, dispatch.message.nonce]
        dispatch.stage = Stage.OVER
        self._waiting -= 1
        if dispatch is self._alone:
            self._alone = None
            self._changed.notify_all()

    def overlong(self, before_s: float) -> list[Dispatch]:
        """What executes, came before this moment, and has not been asked for before."""
        found = [each for each in self.begun() if each.arrived_s < before_s and not each.is_overlong]
        for dispatch in found:
            dispatch.is_overlong = True
        return found

    @property
    def leased(self) -> int:
        """How many slots have leased executions."""
        return sum(dispatch.is_leased and not dispatch.is_led for dispatch in self.begun())

    def forget(self, epoch: int) -> None:
        """A connection is lost: what has not begun belongs to others now, and no mark has come on the next one."""
        with self._changed:
            self._epoch, self._mark = max(self._epoch, epoch), 0
            for dispatch in list(self._all.values()):
                if dispatch.delivery.epoch < epoch and not dispatch.has_begun:
                    self._leave(dispatch)

    def settled(self, dispatches: Iterable[Dispatch]) -> None:
        """Their last messages are confirmed."""
        with self._changed:
            for dispatch in dispatches:
                name = (dispatch.message.key, dispatch.message.nonce)
                if self._all.get(name) is dispatch:
                    del self._all[name]

    def listed(self) -> tuple[int, list[TaskKey], list[TaskKey], list[TaskKey]]:
        """For a heartbeat: the mark, the keys of what has not begun, of what has, and of what is leased."""
        held, started, leased = list[TaskKey](), list[TaskKey](), list[TaskKey]()
        with self._changed:
            mark = self._mark
            for dispatch in self._all.values():
                kept = held if not dispatch.has_begun else leased if dispatch.is_leased else started
                kept.append(dispatch.message.key)
        return mark, held, started, leased

    def close(self) -> None:
        """Let all slots end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
