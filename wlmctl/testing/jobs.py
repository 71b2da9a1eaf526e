"""Doing with a batch system what the task type ``job`` does with it: for tests of batch systems, and of jobs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wlmctl.batch import BatchJob, BatchSystem, Command, JobRef, StartsHere
from wlmctl.task import PollAnswer, Resources, Running, Unknown
from wlmctl.transport import Completed, Runs, Spawns, Transport


@dataclass
class Jobs:
    """Jobs of one batch system through one transport, below the folder ``scratch`` of the machine."""

    batch: BatchSystem
    transport: Transport
    scratch: str
    end_timeout_s: float = 60.0
    names: list[str] = field(default_factory=list)

    def job(self, script: str, *, name: str | None = None, walltime_s: float | None = None, **fields: Any) -> BatchJob:
        """A job with a token of its own, in folders of its own."""
        name = name or f"task-{len(self.names)}"
        self.names.append(name)
        job = BatchJob(
            token=secrets.token_hex(16),
            experiment="exp-abcdef",
            task=name,
            attempt=1,
            folder=f"{self.scratch}/private/{name}/1",
            directory=f"{self.scratch}/work",
            script=script,
            experiment_folder=self.scratch,
            resources=Resources(walltime_s=walltime_s),
        )
        return replace(job, **fields)

    def run(self, command: Command) -> Completed:
        """Run one of the batch system's commands on the machine."""
        assert isinstance(self.transport, Runs), "a batch system needs a machine with a shell"
        return self.transport.run(command.text, command.stdin, command.timeout_s)

    def submit(self, job: BatchJob) -> JobRef:
        """Submit the job in the way that the transport allows."""
        if isinstance(self.transport, Spawns) and isinstance(self.batch, StartsHere):
            return self.batch.start(job, self.transport)
        return self.batch.submitted(job, self.run(self.batch.submit(job)))

    def start(self, script: str, **fields: Any) -> JobRef:
        """Submit a new job with this script."""
        return self.submit(self.job(script, **fields))

    def poll(
        self,
        refs: Mapping[str, JobRef],
        wait_s: float = 0.0,
        offsets: Mapping[str, tuple[int, int]] | None = None,
    ) -> Mapping[str, PollAnswer]:
        """How the jobs stand."""
        answers: dict[str, PollAnswer] = {}
        if isinstance(self.transport, Spawns) and isinstance(self.batch, StartsHere):
            answers.update(self.batch.look(refs, wait_s, offsets or {}))
        rest = {key: ref for key, ref in refs.items() if key not in answers}
        if rest:
            answers.update(self.batch.polled(rest, self.run(self.batch.poll(rest, wait_s, offsets or {}))))
        return answers

    def state(self, ref: JobRef) -> PollAnswer:
        """How one job stands now."""
        return self.poll({"it": ref})["it"]

    def cancel(self, ref: JobRef) -> PollAnswer:
        """Ask once for the end of the job."""
        return self.batch.cancelled(ref, self.run(self.batch.cancel(ref, 1.0)))

    def end(self, ref: JobRef) -> PollAnswer:
        """Wait for the job's end."""
        return self.ends({"it": ref})["it"]

    def ends(self, refs: Mapping[str, JobRef]) -> Mapping[str, PollAnswer]:
        """Wait for the end of all these jobs."""
        open_refs, ended = dict(refs), dict[str, PollAnswer]()
        deadline = time.monotonic() + self.end_timeout_s
        while open_refs:
            for key, answer in self.poll(open_refs, 1.0).items():
                if not isinstance(answer, Running | Unknown):
                    ended[key] = answer
                    del open_refs[key]
            assert time.monotonic() < deadline, f"still open after {self.end_timeout_s} s: {self.poll(open_refs)}"
        return ended

    def end_by_cancel(self, ref: JobRef) -> PollAnswer:
        """Ask for the end until it is proven."""
        deadline = time.monotonic() + self.end_timeout_s
        while isinstance(answer := self.cancel(ref), Running | Unknown):
            assert time.monotonic() < deadline, f"not ended after {self.end_timeout_s} s: {answer}"
        return answer

    def text(self, name: str) -> str | None:
        """The content of a file in the working folder, or None when it is not there."""
        path = f"{self.scratch}/work/{name}"
        return None if self.transport.stat(path) is None else b"".join(self.transport.read(path)).decode()

    def wait_for(self, name: str) -> str:
        """The content of a file in the working folder, once it is there and not empty."""
        deadline = time.monotonic() + self.end_timeout_s
        while not (text := self.text(name)):
            assert time.monotonic() < deadline, f"{name} does not come"
            time.sleep(0.02)
        return text
