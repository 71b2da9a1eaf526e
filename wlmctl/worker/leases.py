"""Long steps: held by a lease of the leader instead of an unacked delivery, before the broker loses patience."""

from __future__ import annotations

from functools import partial
from time import monotonic

from wlmctl.broker.contract import Channel
from wlmctl.message import HeldMessage, encode
from wlmctl.worker.book import Book
from wlmctl.worker.dispatch import Dispatch, settled
from wlmctl.worker.outbox import Outbox, Parcel
from wlmctl.worker.settings import WorkerSettings


class Leases:
    """Turns deliveries that are unacked for a quarter of the broker's ack time-out into leases."""

    def __init__(self, worker_id: str, settings: WorkerSettings, channel: Channel, book: Book, outbox: Outbox) -> None:
        self._id, self._longest_s = worker_id, settings.longest_held_s
        self._channel, self._book, self._outbox = channel, book, outbox

    def look(self) -> None:
        """Say of each step that takes long that it is held; its delivery is acked when that is confirmed."""
        for dispatch in self._book.overlong(monotonic() - self._longest_s):
            message = dispatch.message
            body = encode(HeldMessage(self._id, message.key, message.nonce))
            self._outbox.put(Parcel(body, confirmed=partial(self._leased, dispatch)))

    def _leased(self, dispatch: Dispatch) -> None:
        dispatch.is_leased = True
        self._channel.ack(*settled([dispatch]))
