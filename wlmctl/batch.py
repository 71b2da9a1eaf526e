"""The contract of a batch system: it turns a job into a command, and how the command ended into an answer.

A batch system has no connection: a task type runs its commands through the machine's transport. Every command is
harmless to repeat; a job's own command starts at most once under one token, however often it is submitted
(GUARANTEES G3). Batch plugins offer ``factory(machine, options) -> BatchSystem``, where ``options`` are the
machine's ``batch_options``; a wrong option raises ``ConfigError``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from wlmctl.task import PollAnswer, Resources

if TYPE_CHECKING:
    from wlmctl.errors import Broken, TaskFailed
    from wlmctl.machine import Machine
    from wlmctl.transport import Completed, Spawns

#: Bytes of each log, from its end, that come with the answer of an ended job.
TAIL_BYTES = 64 * 1024

#: The most jobs of one command that starts them.
MANY = 1_000

#: The plain JSON values by which a batch system finds a job again; they outlive this process.
JobRef = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One attempt's work. Folders are absolute paths on the machine, made by the submit where they are missing.

    ``folder`` is private to the attempt and will hold fence, exit file, ``stdout`` and ``stderr``; ``directory`` is
    where ``script`` (shell text) runs. ``token`` names the attempt and stands as ``WLMCTL_TOKEN`` in the environment
    of all its processes; tokens of one store are equally long. ``devices`` are the GPUs handed out, None where the
    machine has none to hand out. ``options`` are the task's own for this batch system, checked by ``submit``.

    ``group`` is the task's name without its instance: of one experiment's jobs those of one group are alike. ``pack``:
    so many of a group may share one job of the queue, 0 or 1: each has its own. ``together``: of those that are
    submitted as one array no more may run at once, None: as many as can.
    """

    token: str
    experiment: str
    task: str
    attempt: int
    folder: str
    directory: str
    script: str
    experiment_folder: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    devices: Sequence[int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    pack: int = 0
    together: int | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run on the machine by ``Runs.run``."""

    text: str
    stdin: bytes = b""
    timeout_s: float | None = None


class BatchSystem(Protocol):
    """Jobs of one machine. Methods that read a ``Completed`` never trust one that is not whole."""

    def reference(self, job: BatchJob) -> JobRef:
        """The reference of a job whether or not it was ever submitted: to cancel it keeps it from starting."""
        ...

    def submit(self, job: BatchJob) -> Command:
        """One command that starts the job, unless it has started; ``TaskFailed`` for a job that cannot be."""
        ...

    def submitted(self, job: BatchJob, completed: Completed) -> JobRef:
        """The job's reference. ``TaskFailed`` when the machine refused it, ``Broken`` when the answer is not whole."""
        ...

    def poll(self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]) -> Command:
        """One command that looks at all ``jobs``, up to 1,000, and waits up to ``wait_s`` for a first end.

        ``offsets``: for these jobs, new bytes of stdout and stderr from these offsets on are wanted, at once.
        """
        ...

    def polled(self, jobs: Mapping[str, JobRef], completed: Completed) -> Mapping[str, PollAnswer]:
        """How each job stands: ``Unknown`` for all where the answer is not whole; ``Done.outputs`` stays empty."""
        ...

    def cancel(self, job: JobRef, wait_s: float) -> Command:
        """One command that ends the job, or keeps it from ever starting, and waits up to ``wait_s`` for the proof."""
        ...

    def cancelled(self, job: JobRef, completed: Completed) -> PollAnswer:
        """``Gone`` when proven; ``Done`` or ``Failed`` when it had ended by itself; ``Unknown``: ask again."""
        ...


@runtime_checkable
class SubmitsMany(Protocol):
    """A batch system that can start many jobs by one command: of one login, maybe of several experiments."""

    def submit_many(self, jobs: Mapping[str, BatchJob]) -> Command:
        """As ``submit`` for each of the jobs, up to ``MANY``; harmless to repeat, with any other company, too.

        One that cannot be submitted is left out, and keeps none of the others from starting.
        """
        ...

    def submitted_many(
        self, jobs: Mapping[str, BatchJob], completed: Completed
    ) -> Mapping[str, JobRef | TaskFailed | Broken]:
        """For each job what ``submitted`` returns or raises: ``Broken`` for one of which the answer does not tell.

        References of jobs that share one job of the queue have the same ``JobRef["pack"]``, a text.
        """
        ...


@runtime_checkable
class StartsHere(Protocol):
    """A batch system that can do without a command on this very host, where the transport ``Spawns``."""

    def start(self, job: BatchJob, transport: Spawns) -> JobRef:
        """Start the job, unless it has started. ``JobRef["process"]`` is its ``HostProcess`` as JSON, or None."""
        ...

    def look(
        self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]
    ) -> Mapping[str, PollAnswer]:
        """As ``poll`` and ``polled``, for those jobs whose files say enough; the others are to be asked by command."""
        ...


@runtime_checkable
class ChecksOptions(Protocol):
    """A batch system that can tell before a run which options it takes of a task."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """``SpecError``, its key from ``batch.NAME`` on, for one that ``submit`` would refuse."""
        ...


@runtime_checkable
class TellsAway(Protocol):
    """A batch system that can be away while the machine of its login answers."""

    def away(self, completed: Completed) -> str | None:
        """Why the command has done nothing, where the batch system did not answer it; None in any other case."""
        ...


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a job may ask for; None where it cannot be told."""

    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None


@runtime_checkable
class TellsCapacity(Protocol):
    """A batch system whose jobs run elsewhere than on the machine of the login."""

    def capacity(self) -> Command:
        """One command that asks for the largest node."""
        ...

    def told_capacity(self, completed: Completed) -> Capacity:
        """The most of each that a single node has."""
        ...


@runtime_checkable
class FindsJobs(Protocol):
    """A batch system that can tell which of its jobs on a machine live, whoever submitted them."""

    def find(self) -> Command:
        """One command that lists the login's living jobs."""
        ...

    def found(self, completed: Completed) -> Mapping[str, JobRef]:
        """Their private folders, with what ``cancel`` takes and maybe the ``id``; ``Broken`` when it is not whole."""
        ...


@dataclass(frozen=True, slots=True)
class JobText:
    """What a machine is given for a job: ``script`` for its shell.

    With a queue also ``words``, the submitting command and its options, and ``batch``, the text that the queue runs.
    ``kind``: ``single``, or ``array`` or ``pack`` of ``members``, with the first one's script.
    """

    script: str
    words: Sequence[str] = ()
    batch: str = ""
    kind: str = "single"
    members: int = 1


@runtime_checkable
class ShowsText(Protocol):
    """A batch system that can show what it would submit."""

    def text(self, jobs: Sequence[BatchJob]) -> JobText:
        """What is submitted with the first of these, alone or with others; ``TaskFailed`` where it cannot be."""
        ...


class BatchFactory(Protocol):
    """What ``wlmctl_batch_systems()`` maps a name to."""

    def __call__(self, machine: Machine, options: Mapping[str, Any]) -> BatchSystem:
        """The batch system of ``machine``; ``ConfigError`` for an option it does not know."""
        ...


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A process of this very host; a pid that is used again has another start time (clock ticks since boot)."""

    boot_id: str
    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> HostProcess | None:
        """The live process ``pid``, or None when there is none (a zombie has ended)."""
        start_ticks = _start_ticks(pid)
        return None if start_ticks is None else cls(boot_id(), pid, start_ticks)

    def is_alive(self) -> bool:
        """True while this very process has not ended."""
        return self.boot_id == boot_id() and _start_ticks(self.pid) == self.start_ticks

    def open_end(self) -> int | None:
        """A descriptor that becomes readable at the end of the process, at once when it has ended already.

        None where nothing can be said: the process is of another host or boot, or the system has no pidfd.
        """
        pidfd_open = getattr(os, "pidfd_open", None)
        if pidfd_open is None or not self.boot_id or self.boot_id != boot_id():
            return None
        with suppress(OSError):
            descriptor: int = pidfd_open(self.pid)
            if _start_ticks(self.pid) == self.start_ticks:
                return descriptor
            os.close(descriptor)
        readable, writable = os.pipe()
        os.close(writable)  # the reader sees the end of file
        return readable

    def to_json(self) -> list[Any]:
        """As plain JSON values."""
        return [self.boot_id, self.pid, self.start_ticks]

    @classmethod
    def from_json(cls, values: Any) -> HostProcess | None:
        """What ``to_json`` made, or None for anything else."""
        match values:
            case [str() as boot, int() as pid, int() as start_ticks]:
                return cls(boot, pid, start_ticks)
        return None


_boot_id = ""


def boot_id() -> str:
    """The kernel's random id of this boot, which no process outlives; empty where the system has none."""
    global _boot_id  # it cannot change while this process lives, and is asked for with each job
    if not _boot_id:
        with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boot_id = file.read().strip()
    return _boot_id


def _start_ticks(pid: int) -> int | None:
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            stat = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
    except OSError:  # no such process, also while it is being read
        return None
    fields = stat[stat.rfind(b")") + 2 :].split()
    return None if not fields or fields[0] in (b"Z", b"X") else int(fields[19])
