"""Questions to the broker that take their time: asked on a thread of their own, answered in the leader's loop."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from wlmctl.broker.contract import Broker, BrokerError, Channel, Depth

log = logging.getLogger(__name__)

#: What a question comes to, and who is told.
Answer = Callable[[Any], None]


class Errands:
    """Runs questions in order. ``has_thread`` False: at once, by whoever asks (for a broker that answers at once)."""

    def __init__(self, broker: Broker, channel: Channel, *, has_thread: bool = True) -> None:
        self._broker, self._channel = broker, channel
        self._questions: SimpleQueue[tuple[Callable[[], Any], Answer] | None] = SimpleQueue()
        self._answers: deque[tuple[Answer, Any]] = deque()
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True) if has_thread else None
        if self._thread is not None:
            self._thread.start()

    def look(self, queues: list[str], answer: Callable[[list[Depth | None] | BrokerError], None]) -> None:
        """Look at these queues."""
        self._ask(lambda: [self._broker.probe(queue) for queue in queues], answer)

    def delete(self, queues: list[str]) -> None:
        """Delete these queues, as soon as the broker can be reached; one that is not there is left."""
        for queue in queues:
            self._ask(partial(self._broker.delete, queue), lambda _: None)

    def make(self, queue: str) -> None:
        """Make the queue where it is missing, now and whenever it is found missing."""
        self._ask(lambda: self._channel.declare(queue), lambda _: None)

    def _ask(self, question: Callable[[], Any], answer: Answer) -> None:
        if self._thread is None:
            self._do(question, answer)
        else:
            self._questions.put((question, answer))

    def _do(self, question: Callable[[], Any], answer: Answer) -> None:
        found: Any
        try:
            found = question()
        except BrokerError as error:
            found = error
        except Exception as error:  # a bug ends no thread on whose answers all deaths depend
            log.exception("the broker could not be asked")
            found = BrokerError(f"internal error: {type(error).__name__}: {error}")
        self._answers.append((answer, found))

    def _run(self) -> None:
        while (asked := self._questions.get()) is not None:
            self._do(*asked)

    def hear(self) -> bool:
        """Tell what has been answered, in the calling thread; True when there was something."""
        is_told = bool(self._answers)
        while self._answers:
            answer, found = self._answers.popleft()
            answer(found)
        return is_told

    def close(self) -> None:
        """Ask nothing more."""
        self._questions.put(None)
