"""Permits of a worker without a store: the leader grants them, in answer to messages."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from wlmctl.errors import BrokenOff
from wlmctl.message import AskMessage, Message, PermitsBackMessage

#: Seconds after which a permit that has not come is asked for again.
AGAIN_S = 5.0

_LOOK_S = 0.2


class AskedPermits:
    """The budget of connections and commands as the leader counts them; safe over threads.

    ``attach`` says as which worker it asks, and how; nothing can be asked before.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted: set[str] = set()
        self._held: set[str] = set()
        self._sharing: dict[str, int] = {}
        self._worker = ""
        self._say: Callable[[Message], None] = lambda _: None
        self._is_deaf = False

    def attach(self, worker: str, say: Callable[[Message], None]) -> None:
        """Ask as this worker from now on."""
        self._worker, self._say = worker, say

    @property
    def held(self) -> list[str]:
        """The permits that open connections have, for the heartbeat."""
        with self._changed:
            return sorted(self._held)

    def acquire(self, name: str, limit: int, check: Callable[[], None], priority: int = 0) -> str:
        """A permit, of a connection to a login where that is the name; waits for it. Returns its token."""
        token = secrets.token_hex(8)
        self._ask(AskMessage(self._worker, token, name, limit=limit, priority=priority), check)
        return token

    def sharing(self, name: str) -> int:
        """How many permits of this name there are, as the leader has last said."""
        return self._sharing.get(name, 1)

    def release(self, token: str) -> None:
        """Give the permit back."""
        with self._changed:
            self._held.discard(token)
        self._say(PermitsBackMessage(self._worker, [token]))

    def command(self, login: str, per_minute: int, check: Callable[[], None]) -> None:
        """Count one command on ``login``; waits while the last minute had ``per_minute`` of them."""
        token = secrets.token_hex(8)
        self._ask(AskMessage(self._worker, token, login, per_minute=per_minute), check)
        with self._changed:
            self._held.discard(token)  # a command is counted, not kept

    def granted(self, tokens: Sequence[str], sharing: Mapping[str, int]) -> None:
        """The leader grants these. What nobody waits for any more goes back."""
        with self._changed:
            self._sharing.update(sharing)
            useless = [token for token in tokens if token not in self._wanted and token not in self._held]
            new = self._wanted.intersection(tokens)
            self._wanted -= new
            self._held |= new
            self._changed.notify_all()
        if useless:
            self._say(PermitsBackMessage(self._worker, useless))

    def deafen(self) -> None:
        """No grant can come any more: who waits for one is broken off."""
        with self._changed:
            self._is_deaf = True
            self._changed.notify_all()

    def _ask(self, message: AskMessage, check: Callable[[], None]) -> None:
        token = message.token
        with self._changed:
            self._wanted.add(token)
        asked_s = -AGAIN_S
        try:
            while True:
                if monotonic() - asked_s >= AGAIN_S:
                    asked_s = monotonic()
                    self._say(message)
                with self._changed:
                    self._changed.wait_for(lambda: token in self._held or self._is_deaf, _LOOK_S)
                    if token in self._held:
                        return
                    if self._is_deaf:
                        raise BrokenOff("no permit can come any more")
                check()
        except BaseException:
            with self._changed:
                self._wanted.discard(token)
                self._held.discard(token)
            self._say(PermitsBackMessage(self._worker, [token]))
            raise
