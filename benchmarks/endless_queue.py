"""A plugin whose batch system has jobs that run for ever, on machines that are not there: what asking costs is seen.

Its transport runs no command and stores no file; references are as large as those of a real queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import wlmctl
from wlmctl.batch import BatchFactory, BatchJob, BatchSystem, Capacity, Command, JobRef
from wlmctl.machine import Machine
from wlmctl.task import Gone, PollAnswer, Running
from wlmctl.transport import Completed, FileInfo, Transport, TransportFactory

CPUS, MEMORY_BYTES = 64, 1 << 37


class Nowhere:
    """A machine that answers every command with nothing."""

    def home(self) -> str:
        """As on a cluster."""
        return "/home/user"

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:  # noqa: ARG002
        """Nothing is run."""
        return Completed(0, b"", b"")

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:  # noqa: ARG002
        """Nothing is there."""
        return None

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:  # noqa: ARG002
        """Nothing."""
        return iter(())

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        """Nothing."""

    def walk(self, path: str) -> Iterator[FileInfo]:  # noqa: ARG002
        """Nothing."""
        return iter(())

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        """Nothing."""

    def remove(self, path: str) -> None:
        """Nothing."""

    def rename(self, source: str, destination: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing."""


class EndlessQueue:
    """Implements ``BatchSystem`` and ``SubmitsMany``: every job runs until it is cancelled."""

    def reference(self, job: BatchJob) -> JobRef:
        """As that of a real queue."""
        return {"folder": job.folder, "token": job.token, "name": f"w{job.token[:14]}"}

    def submit(self, job: BatchJob) -> Command:  # noqa: ARG002
        """Nothing is run."""
        return Command("true")

    def submitted(self, job: BatchJob, completed: Completed) -> JobRef:  # noqa: ARG002
        """It has an id."""
        return {**self.reference(job), "id": "1234567"}

    def submit_many(self, jobs: Mapping[str, BatchJob]) -> Command:  # noqa: ARG002
        """Nothing is run."""
        return Command("true")

    def submitted_many(self, jobs: Mapping[str, BatchJob], completed: Completed) -> Mapping[str, JobRef]:
        """Each has an id."""
        return {key: self.submitted(job, completed) for key, job in jobs.items()}

    def poll(self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]) -> Command:  # noqa: ARG002
        """Nothing is run."""
        return Command("true")

    def polled(self, jobs: Mapping[str, JobRef], completed: Completed) -> Mapping[str, PollAnswer]:  # noqa: ARG002
        """All of them run."""
        return dict.fromkeys(jobs, Running())

    def cancel(self, job: JobRef, wait_s: float) -> Command:  # noqa: ARG002
        """Nothing is run."""
        return Command("true")

    def cancelled(self, job: JobRef, completed: Completed) -> PollAnswer:  # noqa: ARG002
        """It is gone."""
        return Gone()

    def capacity(self) -> Command:
        """Nothing is run."""
        return Command("true")

    def told_capacity(self, completed: Completed) -> Capacity:  # noqa: ARG002
        """A large node."""
        return Capacity(CPUS, MEMORY_BYTES, 0)


def _open_transport(machine: Machine, options: Mapping[str, Any]) -> Transport:  # noqa: ARG001
    return Nowhere()


def _open_batch(machine: Machine, options: Mapping[str, Any]) -> BatchSystem:  # noqa: ARG001
    return EndlessQueue()


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    """The transport ``nowhere``."""
    return {"nowhere": _open_transport}


@wlmctl.hookimpl
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:
    """The batch system ``endless``."""
    return {"endless": _open_batch}


def install(folder: Path) -> dict[str, str]:
    """Write a distribution that offers this plugin; the environment variables with which it counts as installed."""
    info = folder / "wlmctl_endless_queue-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wlmctl-endless-queue\nVersion: 1.0\n")
    names = (f"{kind} = benchmarks.endless_queue\n" for kind in ("transport_nowhere", "batch_endless"))
    (info / "entry_points.txt").write_text(f"[wlmctl]\n{''.join(names)}")
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parents[1]}"}
