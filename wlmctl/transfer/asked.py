"""A question that takes long, asked in a thread of its own: its answer is waited for, or given up, within moments."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from wlmctl.errors import Cancelled

_LOOK_EACH_S = 0.1

T = TypeVar("T")


class Asked(Generic[T]):
    """The answer of ``question(check)``, which calls ``check`` now and then: that raises once nobody waits."""

    def __init__(self, question: Callable[[Callable[[], None]], T]) -> None:
        self._question = question
        self._ended = threading.Event()
        self._given_up = False
        self._answer: T
        self._error: BaseException | None = None
        threading.Thread(target=self._ask, name="wlm-asked", daemon=True).start()

    def answer(self, check: Callable[[], None]) -> T:
        """Wait for it, calling ``check``: when that raises, nobody waits any more. Raises what the question raised."""
        try:
            while not self._ended.wait(_LOOK_EACH_S):
                check()
        except BaseException:
            self._given_up = True
            raise
        if self._error is not None:
            raise self._error
        return self._answer

    def give_up(self) -> None:
        """Nobody wants to know any more."""
        self._given_up = True

    def _ask(self) -> None:
        try:
            self._answer = self._question(self._check)
        except BaseException as error:  # told to whoever waits
            self._error = error
        finally:
            self._ended.set()

    def _check(self) -> None:
        if self._given_up:
            raise Cancelled("given up")
