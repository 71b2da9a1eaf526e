"""A batch system with a queue: commands that submit, list and cancel jobs, and read their folders, on a login node."""

from __future__ import annotations

import math
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from wlmctl.batch import BatchJob, Command, JobRef, JobText
from wlmctl.errors import Broken, SpecError, TaskFailed
from wlmctl.jobs.queue.answers import judge_of
from wlmctl.jobs.queue.bunch import Unit, batch_text, chunks, group_name, job_name, submit_command
from wlmctl.jobs.queue.options import QueueOptions, WrongOption
from wlmctl.jobs.script import job_script, walltime_text
from wlmctl.jobs.sections import answers
from wlmctl.jobs.talk import each, listed, submitted_each
from wlmctl.jobs.texts import assignments, program, wrapper
from wlmctl.machine import Machine
from wlmctl.task import PollAnswer
from wlmctl.transport import Completed

_LOOK = ("clock", "folder", "answer", "queue", "listing", "judge")
#: What a look at 1,000 jobs, or a cancel, may take beyond its waiting.
LOOK_TIMEOUT_S = 180.0
#: How long a cancel waits for the proof at least.
CANCEL_WAIT_S = 3.0
#: The exit code of a command that did nothing, since the system's own command for a listing failed.
NO_LISTING = 75
#: Seconds between two signs of life of a wrapper, at most.
BEAT_S = 60.0
#: Seconds beyond its grace period that a job has which ends by the mark of its cancel, until it is killed.
MARK_S = 10
#: What the walltime of a pack is longer than those of its members together.
PACK_SLACK_S = 60.0

Options = TypeVar("Options", bound=QueueOptions)


class QueueBatch(ABC, Generic[Options]):
    """Jobs of a cluster; implements ``BatchSystem`` and the optional protocols whose methods it has.

    ``texts`` is where the system's ``queue.sh`` lies, ``title`` its name for users. ``execution``: shell words that
    tell two executions of one job apart. ``no_answer``: an extended regular expression of what its commands say, on
    stderr, where its server does not answer.
    ``array_index``: the shell word by which an element of an array knows itself, None where there are no arrays.
    ``kills_at_once``: to be removed from the queue is SIGKILL; a running job is to end by the mark of its cancel.
    """

    title: ClassVar[str]
    texts: ClassVar[Path]
    execution: ClassVar[str]
    no_answer: ClassVar[str]
    array_index: ClassVar[str | None] = None
    kills_at_once: ClassVar[bool] = False

    def __init__(self, machine: Machine, options: Options) -> None:
        self.machine, self.options = machine, options
        self.grace_s = math.ceil(machine.kill_grace_s)
        self._judged = judge_of(self.title)

    @abstractmethod
    def words(self, job: BatchJob, options: Options) -> Sequence[str]:
        """Resources and options as words for the submitting command; ``TaskFailed`` where it has none for them."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """``SpecError`` for one that is unknown, of a wrong type or refused."""
        try:
            self.options.over(options)
        except WrongOption as error:
            key, _, found = str(error).partition(": ")
            raise SpecError(f"batch.{self.options.name}.{key}", found) from error

    def reference(self, job: BatchJob) -> JobRef:
        """Folder, token and name, by which the job is found again."""
        ref: dict[str, object] = {"folder": job.folder, "token": job.token, "name": job_name(job.token)}
        walltime_s = job.resources.walltime_s
        return ref if walltime_s is None else {**ref, "walltime_s": walltime_s}

    def submit(self, job: BatchJob) -> Command:
        """One command with the job's script on stdin."""
        return self._submit_command({0: (job, self._options(job))})

    def submitted(self, job: BatchJob, completed: Completed) -> JobRef:
        """The reference, when the submit says that it came to its end."""
        answer = submitted_each({0: self.reference(job)}, completed)[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit_many(self, jobs: Mapping[str, BatchJob]) -> Command:
        """One command with all scripts on stdin, and as many listings as for one job."""
        numbered = {}
        for number, job in enumerate(jobs.values()):
            with suppress(TaskFailed):
                numbered[number] = (job, self._options(job))
        return self._submit_command(numbered)

    def submitted_many(
        self, jobs: Mapping[str, BatchJob], completed: Completed
    ) -> Mapping[str, JobRef | TaskFailed | Broken]:
        """Each job's reference, or why it has none."""
        refs = {number: self.reference(job) for number, job in enumerate(jobs.values())}
        answers = submitted_each(refs, completed)
        for number, job in enumerate(jobs.values()):
            try:
                self._options(job)
            except TaskFailed as error:
                answers[number] = error
        return dict(zip(jobs, answers.values(), strict=True))

    def _submit_command(self, jobs: Mapping[int, tuple[BatchJob, Options]]) -> Command:
        nonce = secrets.token_hex(8)
        plain = {number: job for number, (job, _) in jobs.items()}
        units = [
            self._unit(kind, {number: plain[number] for number in numbers}, jobs[numbers[0]][1], nonce)
            for kind, numbers in chunks(plain, self.array_index is not None)
        ]
        return submit_command(
            plain,
            {number: job_script(job, self.machine) for number, job in plain.items()},
            units,
            self._program("folder", "queue", "listing", "submit"),
            nonce=nonce,
            program=self.options.program,
            index=self.array_index or "",
            away=self.no_answer,
        )

    def _unit(self, kind: str, jobs: Mapping[int, BatchJob], options: Options, nonce: str) -> Unit:
        first = next(iter(jobs.values()))
        walltime_s = first.resources.walltime_s
        run = self._run(first, options, nonce, is_packed=kind == "pack")
        if kind == "pack":
            if walltime_s is not None:
                summed = replace(first.resources, walltime_s=walltime_s * len(jobs) + PACK_SLACK_S)
                first = replace(first, resources=summed)
            run = assignments(run="folder=$1 token=$2\n" + run) + self._program("pack")
        name = "" if kind == "single" else group_name(kind, jobs.values())
        return Unit(kind, list(jobs), self.words(first, options), run, name, first.together)

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

    def away(self, completed: Completed) -> str | None:
        """The words of the system's command that got no answer."""
        if completed.exit_code != NO_LISTING:
            return None
        for line in reversed(completed.stderr.decode("utf-8", "replace").splitlines()):
            if re.search(self.no_answer, line):
                return f"{self.title} does not answer: {line.strip()}"
        return None

    def text(self, jobs: Sequence[BatchJob]) -> JobText:
        """What the queue gets, with words in place of what is drawn anew for each submit."""
        kind, numbers = chunks(dict(enumerate(jobs)), self.array_index is not None)[0]
        together = {number: jobs[number] for number in numbers}
        options = self._options(jobs[0])
        unit = self._unit(kind, together, options, "NONCE")
        option, batch = batch_text(unit, together, self.array_index or "")
        words = [options.program, *option, *unit.words]
        return JobText(job_script(jobs[0], self.machine), words, batch, kind, len(numbers))

    def find(self) -> Command:
        """All jobs of the login that have not ended, with what their comments say."""
        return Command(self._program("queue", "listing", "find"), timeout_s=LOOK_TIMEOUT_S)

    def found(self, completed: Completed) -> Mapping[str, JobRef]:
        """Those whose comment has a folder of ours."""
        lines = listed(completed)
        if lines is None:
            raise Broken(self.away(completed) or f"{self.title} gave no whole listing")
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
            options = self.options.over(job.options)
        except WrongOption as error:
            raise TaskFailed(f"batch.{self.options.name}.{error}") from error
        self.words(job, options)
        return options

    def _run(self, job: BatchJob, options: Options, nonce: str, *, is_packed: bool) -> str:
        """What the queue runs on the first node, behind lines that say folder and token."""
        walltime = walltime_text(job)
        ends_by_mark = is_packed or self.kills_at_once
        settings = assignments(
            nonce=nonce,
            shell=self.machine.shell or "",
            wall=walltime,
            grace=self.grace_s,
            beat=max(1, round(min(BEAT_S, options.lost_after_s / 3))),
            report="yes",
            packed="yes" if ends_by_mark else "",
        )
        return f'{settings}place="{self.execution}"\n' + self._program("start") + wrapper(bool(walltime), ends_by_mark)

    def _prelude(self, wait_s: float) -> str:
        lost_after_s = math.ceil(self.options.lost_after_s)
        return assignments(
            sign=secrets.token_hex(16),
            nonce=secrets.token_hex(8),
            wait=round(wait_s * 100),
            lost_after=lost_after_s,
            settle=min(60, lost_after_s),
            spare=self.grace_s + MARK_S if self.kills_at_once else "",
        )
