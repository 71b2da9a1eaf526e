"""A channel that its host has ended stays open on this side while something is being sent on it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko


class Ends:
    """The answers to the host's ends of channels, each given once nobody sends on that channel.

    Behind the answer the host knows no such channel, and sshd ends the whole connection when it then gets something for
    it: that a command has no more input, for example, which another thread was about to say.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._senders = Counter[int]()
        self._ended = set[int]()

    @contextmanager
    def sending(self, channel: paramiko.Channel) -> Iterator[None]:
        """No end is answered meanwhile, so nothing must be waited for; ``EOFError`` where the channel has ended."""
        number = channel.chanid
        with self._lock:
            if channel.closed or number in self._ended:
                raise EOFError
            self._senders[number] += 1
        try:
            yield
        finally:
            with self._lock:
                self._senders[number] -= 1
                is_last = not self._senders[number]
                if is_last:
                    del self._senders[number]
                is_due = is_last and number in self._ended
            if is_due:
                self._answer(channel)

    def end(self, channel: paramiko.Channel) -> None:
        """The host has ended ``channel``."""
        with self._lock:
            self._ended.add(channel.chanid)
            if channel.chanid in self._senders:
                return
        self._answer(channel)

    def _answer(self, channel: paramiko.Channel) -> None:
        channel._handle_close(None)  # type: ignore[attr-defined]
        with self._lock:
            self._ended.discard(channel.chanid)
