"""The batch system ``shell``: commands that start, look at and end detached processes of a machine."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wlmctl.batch import BatchJob, Command, JobRef, JobText
from wlmctl.errors import Broken, SpecError, TaskFailed
from wlmctl.jobs.script import job_script, walltime_text
from wlmctl.jobs.sections import answers
from wlmctl.jobs.talk import each, listed, submitted
from wlmctl.jobs.texts import arguments, assignments, program, wrapper
from wlmctl.machine import Machine
from wlmctl.task import PollAnswer
from wlmctl.transport import Completed, Spawns
from wlmctl_batch_shell import here
from wlmctl_batch_shell.answers import judged

_TEXTS = Path(__file__).parent
_LOOK = ("clock", "folder", "processes", "answer", "look")
#: How long a submit may take: it makes two folders and starts one process.
SUBMIT_TIMEOUT_S = 120.0
#: What a look at 1,000 jobs may take beyond its waiting.
LOOK_TIMEOUT_S = 120.0
#: How long a cancel waits for the proof at least: most jobs end at once when they are told to.
CANCEL_WAIT_S = 1.0


class ShellBatch:
    """Jobs as detached processes of ``machine``; implements ``BatchSystem``, ``ChecksOptions`` and ``StartsHere``."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.shell = machine.shell or ("sh" if machine.is_local else "")
        self.grace_s = math.ceil(machine.kill_grace_s)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """``SpecError`` for any."""
        if options:
            raise SpecError(f"batch.shell.{min(options)}", "the batch system shell has no options")

    def reference(self, job: BatchJob) -> JobRef:
        """Folder and token, by which the job is found again."""
        walltime_s = job.resources.walltime_s
        ref: dict[str, object] = {"folder": job.folder, "token": job.token}
        return ref if walltime_s is None else {**ref, "walltime_s": walltime_s}

    def submit(self, job: BatchJob) -> Command:
        """One command with the job's script on stdin."""
        self._check(job)
        script = job_script(job, self.machine).encode("utf-8", "surrogateescape")
        walltime = walltime_text(job)
        values = arguments(
            job.folder,
            job.directory,
            secrets.token_hex(8),
            job.token,
            len(script),
            wrapper(bool(walltime)),
            self.shell,
            walltime,
            self.grace_s,
        )
        return Command(values + program(_TEXTS, "submit"), script, SUBMIT_TIMEOUT_S)

    def submitted(self, job: BatchJob, completed: Completed) -> JobRef:
        """The reference, when the submit says that it came to its end."""
        return submitted(self.reference(job), completed)

    def poll(self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]) -> Command:
        """One command, with the jobs on stdin."""
        text = self._prelude(wait_s) + program(_TEXTS, *_LOOK) + each(jobs, offsets) + program(_TEXTS, "poll")
        return Command("exec sh", text.encode("utf-8", "surrogateescape"), wait_s + LOOK_TIMEOUT_S)

    def polled(self, jobs: Mapping[str, JobRef], completed: Completed) -> Mapping[str, PollAnswer]:
        """How each job stands."""
        return answers(jobs, completed, judged)

    def cancel(self, job: JobRef, wait_s: float) -> Command:
        """Mark, fence, TERM; KILL when this is asked again after the machine's ``kill_grace``."""
        wait_s = max(wait_s, CANCEL_WAIT_S)
        text = (
            self._prelude(wait_s)
            + assignments(folder=job["folder"], token=job["token"])
            + program(_TEXTS, *_LOOK, "cancel")
        )
        return Command("exec sh", text.encode("utf-8", "surrogateescape"), wait_s + LOOK_TIMEOUT_S)

    def cancelled(self, job: JobRef, completed: Completed) -> PollAnswer:
        """``Gone`` when that is proven."""
        return answers({"": job}, completed, judged)[""]

    def start(self, job: BatchJob, transport: Spawns) -> JobRef:
        """Start the job on this very host by one process, the wrapper itself."""
        self._check(job)
        process = here.start(
            job, transport, self.shell, job_script(job, self.machine), walltime_text(job), self.grace_s
        )
        ref = self.reference(job)
        return ref if process is None else {**ref, "process": process.to_json()}

    def look(
        self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]
    ) -> Mapping[str, PollAnswer]:
        """What the files of these jobs on this very host say."""
        return here.look(jobs, wait_s, offsets)

    def text(self, jobs: Sequence[BatchJob]) -> JobText:
        """What the machine's shell runs for the first."""
        self._check(jobs[0])
        return JobText(job_script(jobs[0], self.machine))

    def find(self) -> Command:
        """The wrappers of this login."""
        return Command(program(_TEXTS, "processes", "find"), timeout_s=LOOK_TIMEOUT_S)

    def found(self, completed: Completed) -> Mapping[str, JobRef]:
        """Their folders and tokens."""
        lines = listed(completed)
        if lines is None:
            raise Broken("the processes of the machine cannot be listed")
        jobs: dict[str, JobRef] = {}
        for line in lines:
            match line.split(" ", 3):
                case ["wlm-job", pid, token, folder]:
                    jobs[folder] = {"folder": folder, "token": token, "id": pid}
        return jobs

    def _check(self, job: BatchJob) -> None:
        if job.options:
            raise TaskFailed(f"batch.shell.{min(job.options)}: the batch system shell has no options")
        if job.resources.nodes > 1:
            raise TaskFailed(
                f"resources.nodes: {job.resources.nodes}, but machine {self.machine.name} has the batch system shell,"
                " which runs a job on one node"
            )

    def _prelude(self, wait_s: float) -> str:
        return assignments(
            sign=secrets.token_hex(16),
            nonce=secrets.token_hex(8),
            grace=self.grace_s,
            wait=round(wait_s * 100),
        )
