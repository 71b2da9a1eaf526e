"""What happens inside one transaction: the recorder of each experiment, and the messages to send after the commit."""

from __future__ import annotations

from wlmctl.message import Message
from wlmctl.orchestrator.work import Work
from wlmctl.states import TaskState
from wlmctl.store import Database
from wlmctl.store.record import Recorder


class Book:
    """One transaction's changes; they reach the store at ``flush`` and the memory at once."""

    def __init__(self, db: Database, now_s: float) -> None:
        self.db, self.now_s = db, now_s
        self._recorders: dict[int, Recorder] = {}
        self.outbox: list[Message] = []

    def of(self, work: Work) -> Recorder:
        """The experiment's recorder."""
        return self.of_number(work.seq)

    def of_number(self, seq: int) -> Recorder:
        """The recorder of an experiment that is in the store, whether or not it is in the memory."""
        recorder = self._recorders.get(seq)
        if recorder is None:
            recorder = self._recorders[seq] = Recorder(self.db, seq, self.now_s)
        return recorder

    def move(self, work: Work, idx: int, target: TaskState, **changes: object) -> None:
        """Change a task's state in the store and in the memory."""
        self.of(work).task(idx, work.states[idx], target, **changes)
        work.moved(idx, target)

    def send(self, message: Message) -> None:
        """Send a message once the transaction has been committed."""
        self.outbox.append(message)

    def flush(self) -> None:
        """Store the event counters; the last thing before the commit."""
        for recorder in self._recorders.values():
            recorder.flush()
