"""A batch system with a queue: commands that submit, list and cancel jobs, and read their folders, on a login node."""

from __future__ import annotations

import base64
import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import ClassVar, Generic, TypeVar

from wlmctl.batch import BatchJob, Command, JobRef
from wlmctl.errors import Broken, TaskFailed
from wlmctl.jobs.queue.answers import judge_of
from wlmctl.jobs.queue.options import QueueOptions, WrongOption
from wlmctl.jobs.script import job_script, walltime_text
from wlmctl.jobs.sections import answers
from wlmctl.jobs.talk import each, listed, submitted
from wlmctl.jobs.texts import arguments, assignments, program, wrapper
from wlmctl.machine import Machine
from wlmctl.task import PollAnswer
from wlmctl.transport import Completed

_LOOK = ("clock", "folder", "answer", "queue", "listing", "judge")
#: A submit may wait for a lock, two listings, and a command that tries again by itself.
SUBMIT_TIMEOUT_S = 300.0
#: What a look at 1,000 jobs, or a cancel, may take beyond its waiting.
LOOK_TIMEOUT_S = 180.0
#: How long a cancel waits for the proof at least.
CANCEL_WAIT_S = 3.0
#: Seconds between two signs of life of a wrapper, at most.
BEAT_S = 60.0

Options = TypeVar("Options", bound=QueueOptions)


class QueueBatch(ABC, Generic[Options]):
    """Jobs of a cluster; implements ``BatchSystem`` and ``FindsJobs`` for a system with a ``queue.sh`` in ``texts``.

    ``title`` is its name for users. ``execution``: shell words that tell two executions of one job apart.
    """

    title: ClassVar[str]
    texts: ClassVar[Path]
    execution: ClassVar[str]

    def __init__(self, machine: Machine, options: Options) -> None:
        self.machine, self.options = machine, options
        self.grace_s = math.ceil(machine.kill_grace_s)
        self._judged = judge_of(self.title)

    @abstractmethod
    def words(self, job: BatchJob, options: Options) -> Sequence[str]:
        """Resources and options as words for the submitting command; ``TaskFailed`` where it has none for them."""

    def reference(self, job: BatchJob) -> JobRef:
        """Folder, token and name, by which the job is found again."""
        ref: dict[str, object] = {"folder": job.folder, "token": job.token, "name": job_name(job.token)}
        walltime_s = job.resources.walltime_s
        return ref if walltime_s is None else {**ref, "walltime_s": walltime_s}

    def submit(self, job: BatchJob) -> Command:
        """One command with the job's script on stdin."""
        options = self._options(job)
        script = job_script(job, self.machine).encode("utf-8", "surrogateescape")
        nonce = secrets.token_hex(8)
        file = f"script.{nonce}"
        values = assignments(
            folder=job.folder,
            directory=job.directory,
            nonce=nonce,
            name=job_name(job.token),
            file=file,
            size=len(script),
            batch=self._batch_script(job, nonce, file, options),
            program=options.program,
        )
        text = values + arguments(*self.words(job, options)) + self._program("folder", "queue", "listing", "submit")
        return Command(text, script, SUBMIT_TIMEOUT_S)

    def submitted(self, job: BatchJob, completed: Completed) -> JobRef:
        """The reference, when the submit says that it came to its end."""
        return submitted(self.reference(job), completed)

    def poll(self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]) -> Command:
        """One command and one listing, with the jobs on stdin."""
        text = self._prelude(wait_s) + self._program(*_LOOK) + each(jobs, offsets, "name") + self._program("poll")
        return Command("exec sh", text.encode("utf-8", "surrogateescape"), wait_s + LOOK_TIMEOUT_S)

    def polled(self, jobs: Mapping[str, JobRef], completed: Completed) -> Mapping[str, PollAnswer]:
        """How each job stands."""
        return answers(jobs, completed, self._judged)

    def cancel(self, job: JobRef, wait_s: float) -> Command:
        """Mark, fence, removal of all that has our name from the queue, and proof."""
        wait_s = max(wait_s, CANCEL_WAIT_S)
        text = (
            self._prelude(wait_s)
            + assignments(folder=job["folder"], name=job["name"])
            + self._program(*_LOOK, "cancel")
        )
        return Command("exec sh", text.encode("utf-8", "surrogateescape"), wait_s + LOOK_TIMEOUT_S)

    def cancelled(self, job: JobRef, completed: Completed) -> PollAnswer:
        """``Gone`` when that is proven."""
        return answers({"": job}, completed, self._judged)[""]

    def find(self) -> Command:
        """All jobs of the login that have not ended, with what their comments say."""
        return Command(self._program("queue", "listing", "find"), timeout_s=LOOK_TIMEOUT_S)

    def found(self, completed: Completed) -> Mapping[str, JobRef]:
        """Those whose comment has a folder of ours."""
        lines = listed(completed)
        if lines is None:
            raise Broken(f"{self.title} gave no whole listing")
        jobs: dict[str, JobRef] = {}
        for line in lines:
            match line.split("|"):
                case [number, _, name, _, comment, _] if comment.startswith("wlm:"):
                    folder = comment.removeprefix("wlm:")
                    jobs[folder] = {"folder": folder, "name": name, "id": number}
        return jobs

    def _program(self, *names: str) -> str:
        return program(self.texts, *names)

    def _options(self, job: BatchJob) -> Options:
        try:
            return self.options.over(job.options)
        except WrongOption as error:
            raise TaskFailed(f"batch.{self.options.name}.{error}") from error

    def _batch_script(self, job: BatchJob, nonce: str, file: str, options: Options) -> str:
        """What the queue runs on the first node: the wrapper, in the job's private folder."""
        walltime = walltime_text(job)
        shell = self.machine.shell or ""
        beat_s = max(1, round(min(BEAT_S, options.lost_after_s / 3)))
        return (
            "#!/bin/sh\n"
            f"cd -- {quote(job.folder)} || exit 96\n"
            f"export WLMCTL_TOKEN={quote(job.token)}\n"
            "oom=\n"
            'while read -r key value; do [ "$key" = oom_kill ] && oom=$value; done </proc/vmstat\n'
            f"beat={beat_s} report=yes\n"
            f'place="{self.execution}"\n'
            f'set -- "{nonce}-${{place% *}}-${{place#* }}" {quote(shell)} "" {quote(file)} "$oom"'
            f' "{walltime}" {self.grace_s}\n'
        ) + wrapper(bool(walltime))

    def _prelude(self, wait_s: float) -> str:
        lost_after_s = math.ceil(self.options.lost_after_s)
        return assignments(
            sign=secrets.token_hex(16),
            nonce=secrets.token_hex(8),
            wait=round(wait_s * 100),
            lost_after=lost_after_s,
            settle=min(60, lost_after_s),
        )


def job_name(token: str) -> str:
    """The name under which a queue has the job: 15 characters, which is all that Torque takes."""
    return "w" + base64.b32encode(bytes.fromhex(token)).decode("ascii")[:14].lower()
