"""What happens inside one transaction: the recorder of each experiment, and the letters to send after the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wlmctl.message import Message
from wlmctl.orchestrator.sending import Letter
from wlmctl.orchestrator.work import Work
from wlmctl.states import TaskState
from wlmctl.store import Database
from wlmctl.store.record import Recorder


class Book:
    """One transaction's changes; they reach the store at ``flush`` and the memory at once.

    ``numbers`` gives the running numbers of dispatches; None: they have none (nothing outlives this process's broker).
    ``counts`` are the event counters by experiment as the books before have left them: of no use any more once another
    process has written, or a transaction was lost.
    """

    def __init__(
        self,
        db: Database,
        now_s: float,
        numbers: Iterator[int] | None = None,
        counts: dict[int, int] | None = None,
    ) -> None:
        self.db, self.now_s = db, now_s
        self._counts = counts if counts is not None else {}
        self._numbers = numbers
        self._recorders: dict[int, Recorder] = {}
        self.outbox: list[Letter] = []
        #: What keeps the transaction and the leases alive while a decision takes long.
        self.while_waiting: Callable[[], object] = lambda: None
        #: By user and project: cpu-seconds of the attempts that have ended.
        self.used: dict[tuple[str, str | None], float] = {}

    def give_numbers(self, numbers: Iterator[int]) -> None:
        """Dispatches get these running numbers."""
        self._numbers = numbers

    def has_read(self, seq: int, events: int) -> None:
        """An experiment was read in this transaction: its event counter need not be asked for."""
        if seq not in self._recorders:
            self._counts[seq] = events

    def of(self, work: Work) -> Recorder:
        """The experiment's recorder."""
        return self.of_number(work.seq)

    def of_number(self, seq: int) -> Recorder:
        """The recorder of an experiment that is in the store, whether or not it is in the memory."""
        recorder = self._recorders.get(seq)
        if recorder is None:
            count = self._counts.get(seq)
            recorder = self._recorders[seq] = Recorder(self.db, seq, self.now_s, gather=True, count=count)
        return recorder

    def move(self, work: Work, idx: int, target: TaskState, **changes: object) -> None:
        """Change a task's state in the store and in the memory."""
        self.of_number(work.seq).task(idx, work.states[idx], target, **changes)
        work.moved(idx, target)

    def next_number(self) -> int:
        """The running number of the next dispatch; 0 where they have none."""
        return next(self._numbers) if self._numbers is not None else 0

    def send(self, queue: str, message: Message, priority: int = 0, number: int = 0, *, together: int = 1) -> None:
        """Send a message once the transaction has been committed; so many like it ``together``."""
        self.outbox.append(Letter(queue, message, priority, number, together=together))

    def flush(self) -> None:
        """Store what was gathered and the event counters; the last thing before the commit."""
        for seq, recorder in self._recorders.items():
            recorder.flush()
            self._counts[seq] = recorder.count
