"""What an execution may use of the outside: ``TaskContext`` over pooled connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field

from wlmctl.batch import BatchSystem
from wlmctl.errors import BrokenOff, Cancelled, Denied, NoSpace, NotFound
from wlmctl.in_use import InUse, soon
from wlmctl.machine import LOCAL, Machine
from wlmctl.message import StepProgress, TaskMessage
from wlmctl.pace import Pace
from wlmctl.plugins import batch_factory
from wlmctl.quantities import MAX_SIZE_BYTES
from wlmctl.rate import Rate
from wlmctl.task import Resources
from wlmctl.transfer import execution_name
from wlmctl.transport import Transport
from wlmctl.worker.contact import Contact
from wlmctl.worker.machines import Machines
from wlmctl.worker.places import experiment_folder, private_folder

#: Seconds after a cancel in which a step may end by itself, and in which a machine must answer to be cleared up.
STOP_S, CLEAR_S = 0.5, 3.0


@dataclass(slots=True)
class Figures:
    """How far an execution is."""

    what: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    sent_bytes: int = 0
    resumed_bytes: int = 0
    skipped: int = 0


@dataclass(slots=True)
class ExecutionContext:
    """``wlmctl.task_context.TaskContext`` for one execution of one dispatch."""

    message: TaskMessage
    machines: Machines
    stopped: threading.Event = field(default_factory=threading.Event)
    execution: str = ""
    figures: Figures | None = None
    contact: Contact | None = None
    #: Whether its connections are closed under it when it is stopped and does not hear that.
    is_breakable: bool = False
    rate: Rate = field(default_factory=Rate)
    _in_use: InUse = field(init=False)
    _is_left_to_others: bool = False
    _open: dict[str, Transport] = field(default_factory=dict)
    #: Folders that were made, by machine.
    _made: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Name the execution: by its task, its dispatch, and a word of its own."""
        self._in_use = InUse(self.machines.pool.break_off)
        if not self.execution:
            self.execution = execution_name(f"{self.message.experiment}/{self.message.task}", self.message.key.dispatch)

    def join(self, first: ExecutionContext) -> None:
        """It is executed together with ``first``, over the connections that this has open, in the same thread."""
        self._open, self._made = first._open, first._made

    @property
    def experiment(self) -> str:
        """The experiment's id."""
        return self.message.experiment

    @property
    def task(self) -> str:
        """The task's name, with its instance."""
        return self.message.task

    @property
    def attempt(self) -> int:
        """The attempt's number."""
        return self.message.key.attempt

    @property
    def token(self) -> str:
        """The attempt's token."""
        return self.message.token

    @property
    def resources(self) -> Resources:
        """What the attempt asks of its machine."""
        return self.message.resources

    @property
    def devices(self) -> Sequence[int]:
        """The GPUs it was given."""
        return self.message.devices

    def machine(self, role: str) -> Machine:
        """The machine the role is bound to."""
        return self.machines.seen_from_here(self.message.machines[self.message.roles[role]])

    @contextmanager
    def transport(self, role: str, *, after_cancel: bool = False) -> Iterator[Transport]:
        """A pooled connection to the role's machine."""
        machine = self.machine(role)
        if after_cancel:
            with self._clearing(machine) as transport:
                yield transport
            return
        leased = self.machines.transport(machine, self.check_cancelled, self.message.priority)
        with leased as transport, nullcontext() if machine.is_local else self._in_use.using(transport):
            outer = self._open.get(machine.name)
            self._open[machine.name] = transport
            try:
                yield transport
            finally:
                if outer is None:
                    del self._open[machine.name]
                else:
                    self._open[machine.name] = outer

    @contextmanager
    def _clearing(self, machine: Machine) -> Iterator[Transport]:
        """A connection to remove with what is left; a machine that has just kept the step waiting gets little time."""
        if not self._in_use.is_broken_off:
            with self.machines.transport(machine, _never) as transport:
                yield transport
            return
        with soon(self.machines.transport(machine, _never), CLEAR_S) as transport, self._in_use.using(transport):
            timer = self._in_use.close_in(CLEAR_S)
            try:
                yield transport
            finally:
                timer.cancel()

    @property
    def is_broken_off(self) -> bool:
        """True when its connections were closed under it."""
        return self._in_use.is_broken_off

    def stop(self, *, is_left_to_others: bool = False) -> None:
        """The execution is to end: it hears that by its next check, or has its connections closed under it."""
        if self.stopped.is_set():
            return
        self._is_left_to_others = is_left_to_others
        self.stopped.set()
        if self.is_breakable:
            self._in_use.close_in(STOP_S)

    @contextmanager
    def _opened(self, role: str) -> Iterator[Transport]:
        """The connection this execution has open already, so that a machine with one connection is enough."""
        transport = self._open.get(self.machine(role).name)
        if transport is not None:
            yield transport
        else:
            with self.transport(role) as transport:
                yield transport

    @contextmanager
    def transfer(self, roles: Sequence[str], size_bytes: int, files: int) -> Iterator[Pace]:
        """Leave to move so much between the machines of these roles; tells when that has to be waited for."""
        ends, is_waiting = [self.machine(role) for role in roles], True

        def check() -> None:
            if is_waiting:
                self.progress(what="waits for other transfers with the same machine")
            self.check_cancelled()

        with self.machines.pool.transfer(ends, size_bytes, files, check, self.message.priority) as pace:
            is_waiting = False
            yield pace

    def batch(self, role: str) -> BatchSystem:
        """The batch system of the role's machine."""
        machine = self.machine(role)
        return batch_factory(machine.batch)(machine, machine.batch_options)

    def folder(self, role: str) -> str:
        """Where relative paths lie on the role's machine; made with mode 0700 where it is the experiment's own."""
        machine = self.machine(role)
        if machine.name == LOCAL and self.message.folder:
            return self.message.folder
        return self._own_folder(role)

    def _own_folder(self, role: str) -> str:
        with self._opened(role) as transport:
            name, folder = self.machine(role).name, experiment_folder(self.scratch(role), self.experiment)
            if (name, folder) not in self._made:
                try:
                    transport.makedirs(folder, 0o700)
                except (NotFound, Denied, NoSpace) as error:
                    raise type(error)(f"machine {name}: scratch: {error}") from None
                self._made.add((name, folder))
        return folder

    def scratch(self, role: str) -> str:
        """The scratch folder of the role's machine."""
        machine = self.machine(role)
        return self.machines.scratch(machine, self.check_cancelled, self._open.get(machine.name))

    def private_folder(self, role: str) -> str:
        """The attempt's private folder on the role's machine; the experiment's folder above it is made."""
        self._own_folder(role)
        return private_folder(self.scratch(role), self.experiment, self.task, self.attempt)

    def contents(self, name: str) -> bytes:
        """A file that was read at submit."""
        return self.message.files[name]

    def progress(self, **figures: float | int | str) -> None:
        """Tell how far the work is."""
        self.figures = self.figures or Figures()
        for name, value in figures.items():
            if name in Figures.__slots__:
                setattr(self.figures, name, str(value) if name == "what" else _whole(value))
        now = self.figures
        self.rate.note(now.sent_bytes if "sent_bytes" in figures else now.bytes_done, now.files_done - now.skipped)

    def told(self) -> StepProgress | None:
        """How far it is, where it has said so."""
        if self.figures is None:
            return None
        return StepProgress(
            self.message.key, **asdict(self.figures), rate_bytes_s=self.rate.bytes_s, left_s=self.left_s()
        )

    def left_s(self) -> float | None:
        """How long it still takes at the rate of the last seconds; None where that cannot be told."""
        if (now := self.figures) is None:
            return None
        return self.rate.left_s(now.bytes_total - now.bytes_done, now.files_total - now.files_done)

    def check_cancelled(self) -> None:
        """Raise ``Cancelled`` when the execution is to stop; waits while others may have been given its work."""
        if self.stopped.is_set():
            raise BrokenOff("broken off, left to others") if self._is_left_to_others else Cancelled("cancelled")
        if self.contact is not None:
            self.contact.hold(self.stopped)


def _never() -> None:
    """What clears up after a cancel is not cancelled."""


def _whole(figure: float | str) -> int:
    """A figure as heartbeats carry it: what they cannot carry is told to who gave it, and silences no worker."""
    if type(figure) is int and 0 <= figure <= MAX_SIZE_BYTES:
        return figure
    return min(max(0, int(figure)), MAX_SIZE_BYTES)
