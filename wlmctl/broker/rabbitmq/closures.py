"""Channels that the broker closes with 406, as where a message was held for too long: who wants to hear of them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pika.exceptions import ChannelClosedByBroker

log = logging.getLogger(__name__)

#: The code with which the broker closes them.
PRECONDITION_FAILED = 406


class Closures:
    """Those that watch one connection; ``tell`` is called on the link's thread."""

    def __init__(self) -> None:
        self._watchers: list[Callable[[str], None]] = []

    def watch(self, told: Callable[[str], None]) -> None:
        """Tell why, each time."""
        self._watchers.append(told)

    def tell(self, reason: ChannelClosedByBroker) -> None:
        """The broker has closed a channel."""
        if reason.reply_code != PRECONDITION_FAILED:
            return
        for told in list(self._watchers):
            try:
                told(reason.reply_text)
            except Exception:
                log.exception("whoever watches closed channels failed")
