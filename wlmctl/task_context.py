"""What an execution of a task, and a question about deferred ones, may use of the outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from wlmctl.task import Resources

if TYPE_CHECKING:
    from wlmctl.batch import BatchSystem
    from wlmctl.machine import Machine
    from wlmctl.transport import Transport


class JobContext(Protocol):
    """What a job of the batch system is made from, which needs no run: the roles' names are the experiment file's."""

    @property
    def experiment(self) -> str:
        """The experiment's id."""
        ...

    @property
    def task(self) -> str:
        """The task's name, with its instance: ``simulate[1]``."""
        ...

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1."""
        ...

    @property
    def token(self) -> str:
        """The attempt's token, 32 hex digits: the same for every execution of the attempt."""
        ...

    @property
    def resources(self) -> Resources:
        """What the attempt asks of its machine."""
        ...

    @property
    def devices(self) -> Sequence[int]:
        """The GPUs of the machine that the attempt was given, by number."""
        ...

    def machine(self, role: str) -> Machine:
        """The machine the role is bound to; cpus, memory and gpus are filled in."""
        ...

    def folder(self, role: str) -> str:
        """The absolute folder that relative paths of the experiment lie under, on the role's machine."""
        ...

    def private_folder(self, role: str) -> str:
        """``<scratch>/<experiment>/.wlmctl/<task>/<attempt>`` on the role's machine, absolute; not yet made."""
        ...


class TaskContext(JobContext, Protocol):
    """All that an execution may use of the outside. Names of machines are the roles of the experiment file."""

    @property
    def execution(self) -> str:
        """The name of this execution, in its temporary names: no other execution has it."""
        ...

    def transport(self, role: str, *, after_cancel: bool = False) -> AbstractContextManager[Transport]:
        """A pooled connection to the role's machine, given back at the end of the ``with``.

        Waiting for it raises ``Cancelled``, unless it is to clear up ``after_cancel``.
        """
        ...

    def transfer(
        self, roles: Sequence[str], size_bytes: int, files: int
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Leave to move so much between the machines of these roles, one named twice where it is both ends.

        Waits while as many long transfers as may be are under way with one of them; to be asked for while no connection
        is held. What it gives is to be called with the bytes of each piece before they are sent: it waits as long as
        the machines' bandwidth demands, and raises ``Cancelled`` like ``check_cancelled``.
        """
        ...

    def batch(self, role: str) -> BatchSystem:
        """The batch system of the role's machine."""
        ...

    def scratch(self, role: str) -> str:
        """The absolute scratch folder of the role's machine."""
        ...

    def contents(self, name: str) -> bytes:
        """The content of a file that was read at submit, by the name that ``Carries.files`` gave it."""
        ...

    def progress(self, **figures: float | int | str) -> None:
        """Tell how far the work is: ``bytes_done``, ``bytes_total``, ``files_done``, ``files_total``, ``what``.

        ``sent_bytes`` (what the rate is counted by), ``resumed_bytes`` and ``skipped`` files say how it came so far.
        """
        ...

    def check_cancelled(self) -> None:
        """Raise ``Cancelled`` when the task is to stop: called each second and before each lasting effect."""
        ...


class PollContext(Protocol):
    """What ``poll`` and ``cancel`` may use: one machine, by its inventory entry."""

    machine: Machine
    wait_s: float

    def transport(self) -> AbstractContextManager[Transport]:
        """A pooled connection to the machine."""
        ...

    def batch(self) -> BatchSystem:
        """The batch system of the machine."""
        ...

    def log_offsets(self, key: str) -> tuple[int, int] | None:
        """From where new bytes of stdout and stderr are wanted (``logs -f``), or None: not wanted."""
        ...
