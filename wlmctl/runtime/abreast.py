"""Asking several machines at the same time, so that Ctrl-C still ends the command at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Machines asked at the same time.
AT_ONCE = 8


def abreast(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``function(item)`` for each item, several at a time; the results in order. The first error is raised.

    The threads are daemons: one that hangs on a machine that does not answer keeps neither an error nor the end of
    the process waiting, as those of an executor would.
    """
    left: SimpleQueue[int] = SimpleQueue()
    done: SimpleQueue[tuple[int, R | None, BaseException | None]] = SimpleQueue()
    for number in range(len(items)):
        left.put(number)

    def work() -> None:
        while True:
            try:
                number = left.get_nowait()
            except Empty:
                return
            try:
                done.put((number, function(items[number]), None))
            except BaseException as error:
                done.put((number, None, error))

    for _ in range(min(len(items), AT_ONCE)):
        threading.Thread(target=work, name="machine", daemon=True).start()
    results: dict[int, R] = {}
    for _ in items:
        number, result, error = done.get()
        if error is not None:
            raise error
        results[number] = result  # type: ignore[assignment]
    return [results[number] for number in range(len(items))]
