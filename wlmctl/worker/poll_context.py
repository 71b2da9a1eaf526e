"""What asking for deferred tasks, and ending them, may use of the outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wlmctl.batch import BatchSystem
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory
from wlmctl.transport import Transport
from wlmctl.worker.machines import Machines


@dataclass(slots=True)
class DeferredContext:
    """``wlmctl.task_context.PollContext``: one machine, asked for deferred tasks."""

    machine: Machine
    machines: Machines
    wait_s: float = 0.0
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def transport(self) -> Iterator[Transport]:
        """A pooled connection to the machine."""
        with self.machines.transport(self.machine, _never) as transport:
            yield transport

    def batch(self) -> BatchSystem:
        """The machine's batch system."""
        return batch_factory(self.machine.batch)(self.machine, self.machine.batch_options)

    def log_offsets(self, key: str) -> tuple[int, int] | None:
        """From where new output of this task is wanted."""
        return self.offsets.get(key)


def _never() -> None:
    """A poll is not cancelled."""
