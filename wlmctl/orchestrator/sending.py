"""Sending what a transaction has decided, without waiting; and knowing up to where all dispatches have arrived."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from wlmctl.broker.contract import Channel, Outgoing
from wlmctl.errors import WlmctlError
from wlmctl.message import Message, bundle, encode
from wlmctl.store import Database

#: The row of ``meta``: the running number up to which the broker has confirmed all dispatches.
UPTO = "published_upto"

#: The most bytes of letters that travel together: below any limit of messages, and one frame.
TOGETHER_BYTES = 48 * 1024


@dataclass(slots=True)  # not frozen: that would take three times as long to make
class Letter:
    """One message on its way to a queue. ``number`` is the running number of a dispatch, 0 for anything else.

    ``together``: so many like it, one behind the other, may be one delivery.
    """

    queue: str
    message: Message
    priority: int = 0
    number: int = 0
    transient: bool = False
    together: int = 1


def published_upto(db: Database) -> int:
    """Up to which running number all dispatches are known to have reached the broker."""
    row = db.row("SELECT value FROM meta WHERE key = ?", (UPTO,))
    return int(row[0]) if row else 0


class Sender:
    """Publishes letters and notes what the broker says of each."""

    def __init__(self, channel: Channel, upto: int) -> None:
        self._channel = channel
        self._answers: deque[tuple[Letter, WlmctlError | None]] = deque()
        self._open: list[int] = []
        self._closed: set[int] = set()
        self._highest = self._written = self._stored = upto

    def post(self, letters: Iterable[Letter]) -> None:
        """Send these, in order."""
        outgoing = []
        for some, body in _deliveries(letters):
            for letter in some:
                if letter.number:
                    heapq.heappush(self._open, letter.number)
                    self._highest = max(self._highest, letter.number)
            first = some[0]
            outgoing.append(Outgoing(first.queue, body, first.priority, first.transient, partial(self._told, some)))
        if outgoing:
            self._channel.send(outgoing)

    def _told(self, letters: list[Letter], error: WlmctlError | None) -> None:
        """On the broker's thread."""
        self._answers.extend((letter, error) for letter in letters if letter.number or error is not None)

    def answers(self) -> list[tuple[Letter, WlmctlError | None]]:
        """What the broker has said since the last look: confirms of dispatches, and errors of anything."""
        found = []
        while self._answers:
            letter, error = self._answers.popleft()
            found.append((letter, error))
            if letter.number:
                self._closed.add(letter.number)
        while self._open and self._open[0] in self._closed:
            self._closed.discard(heapq.heappop(self._open))
        return found

    @property
    def upto(self) -> int:
        """Up to which running number all are settled."""
        return self._open[0] - 1 if self._open else self._highest

    def write(self, db: Database) -> None:
        """Keep the watermark; inside a transaction."""
        if self.upto != self._stored:
            self._written = self.upto
            db.write(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (UPTO, str(self._written)),
                lambda: AssertionError("the watermark was not written"),
            )

    def committed(self) -> None:
        """What was written is in the store."""
        self._stored = self._written


def _deliveries(letters: Iterable[Letter]) -> Iterator[tuple[list[Letter], bytes]]:
    """What travels together, and its body: each delivery costs the broker and both ends, whatever is in it."""
    some, bodies, size_bytes = list[Letter](), list[bytes](), 0
    for letter in letters:
        body = encode(letter.message)
        size_bytes += len(body)
        if some and (
            len(some) >= min(letter.together, some[0].together)
            or (letter.queue, letter.priority) != (some[0].queue, some[0].priority)
            or size_bytes > TOGETHER_BYTES
        ):
            yield some, bundle(bodies)
            some, bodies, size_bytes = [], [], len(body)
        some.append(letter)
        bodies.append(body)
    if some:
        yield some, bundle(bodies)
