"""The batch system ``slurm``: commands that submit, list and cancel jobs, and read their folders, on a login node."""

from __future__ import annotations

import base64
import math
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from wlmctl.batch import BatchJob, Capacity, Command, JobRef
from wlmctl.errors import Broken, TaskFailed
from wlmctl.jobs.script import job_script, walltime_text
from wlmctl.jobs.sections import answers
from wlmctl.jobs.talk import each, listed, submitted
from wlmctl.jobs.texts import arguments, assignments, program, wrapper
from wlmctl.machine import Machine
from wlmctl.task import PollAnswer, Resources
from wlmctl.transport import Completed
from wlmctl_batch_slurm.answers import judged
from wlmctl_batch_slurm.options import SlurmOptions, WrongOption, parse

_TEXTS = Path(__file__).parent
_LOOK = ("clock", "folder", "answer", "listing", "judge")
#: A submit may wait for a lock, two listings, and an sbatch that tries again by itself.
SUBMIT_TIMEOUT_S = 300.0
#: What a look at 1,000 jobs, or a cancel, may take beyond its waiting.
LOOK_TIMEOUT_S = 180.0
#: How long a cancel waits for the proof at least.
CANCEL_WAIT_S = 3.0
#: Seconds between two signs of life of a wrapper, at most.
BEAT_S = 60.0


class SlurmBatch:
    """Jobs of a cluster; implements ``BatchSystem``."""

    def __init__(self, machine: Machine, options: SlurmOptions) -> None:
        self.machine, self.options = machine, options
        self.grace_s = math.ceil(machine.kill_grace_s)

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
        )
        words = arguments(*requested(job.resources), *options.arguments())
        text = values + words + program(_TEXTS, "folder", "listing", "submit")
        return Command(text, script, SUBMIT_TIMEOUT_S)

    def submitted(self, job: BatchJob, completed: Completed) -> JobRef:
        """The reference, when the submit says that it came to its end."""
        return submitted(self.reference(job), completed)

    def poll(self, jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]) -> Command:
        """One command and one listing, with the jobs on stdin."""
        text = self._prelude(wait_s) + program(_TEXTS, *_LOOK) + each(jobs, offsets, "name") + program(_TEXTS, "poll")
        return Command("exec sh", text.encode("utf-8", "surrogateescape"), wait_s + LOOK_TIMEOUT_S)

    def polled(self, jobs: Mapping[str, JobRef], completed: Completed) -> Mapping[str, PollAnswer]:
        """How each job stands."""
        return answers(jobs, completed, judged)

    def cancel(self, job: JobRef, wait_s: float) -> Command:
        """Mark, fence, scancel of all that has our name, and proof."""
        wait_s = max(wait_s, CANCEL_WAIT_S)
        text = (
            self._prelude(wait_s)
            + assignments(folder=job["folder"], name=job["name"])
            + program(_TEXTS, *_LOOK, "cancel")
        )
        return Command("exec sh", text.encode("utf-8", "surrogateescape"), wait_s + LOOK_TIMEOUT_S)

    def cancelled(self, job: JobRef, completed: Completed) -> PollAnswer:
        """``Gone`` when that is proven."""
        return answers({"": job}, completed, judged)[""]

    def find(self) -> Command:
        """All jobs of the login that have not ended, with what their comments say."""
        return Command(program(_TEXTS, "listing", "find"), timeout_s=LOOK_TIMEOUT_S)

    def found(self, completed: Completed) -> Mapping[str, JobRef]:
        """Those whose comment has a folder of ours."""
        lines = listed(completed)
        if lines is None:
            raise Broken("squeue gave no whole answer")
        jobs: dict[str, JobRef] = {}
        for line in lines:
            match line.split("|"):
                case [number, _, name, _, comment, _] if comment.startswith("wlm:"):
                    folder = comment.removeprefix("wlm:")
                    jobs[folder] = {"folder": folder, "name": name, "id": number}
        return jobs

    def capacity(self) -> Command:
        """A line a node, of the partition where one is set."""
        partition = f" -p {quote(self.options.partition)}" if self.options.partition else ""
        return Command(f"LC_ALL=C sinfo -a -h -N -o 'wlm-node|%c|%m|%G'{partition}", timeout_s=LOOK_TIMEOUT_S)

    def told_capacity(self, completed: Completed) -> Capacity:
        """The most of each that a node has; a sinfo that fails tells nothing."""
        rows = [line.split("|") for line in completed.stdout.decode("utf-8", "replace").splitlines()]
        nodes = [row for row in rows if len(row) == 4 and row[0] == "wlm-node"]
        if completed.exit_code != 0 or not nodes:
            return Capacity()
        cpus, memory_mb = (max(_count(row[at]) for row in nodes) for at in (1, 2))
        return Capacity(cpus or None, memory_mb * 1024**2 or None, max(_gpus(row[3]) for row in nodes))

    def _options(self, job: BatchJob) -> SlurmOptions:
        try:
            return parse(job.options, self.options)
        except WrongOption as error:
            raise TaskFailed(f"batch.slurm.{error}") from error

    def _batch_script(self, job: BatchJob, nonce: str, file: str, options: SlurmOptions) -> str:
        """What Slurm runs on the first node: the wrapper, in the job's private folder."""
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
            'place="$SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0}"\n'
            f'set -- "{nonce}-$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}" {quote(shell)} "" {quote(file)} "$oom"'
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


def _count(text: str) -> int:
    """``8`` or ``8+`` as sinfo prints it."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _gpus(text: str) -> int:
    """The GPUs in generic resources as sinfo prints them: ``gpu:2``, ``gpu:a100:4(S:0-1),shard:8``."""
    return sum(int(found[1]) for found in re.finditer(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", text))


def job_name(token: str) -> str:
    """The name under which Slurm has the job: 15 characters, which is all that other batch systems take."""
    return "w" + base64.b32encode(bytes.fromhex(token)).decode("ascii")[:14].lower()


def requested(resources: Resources) -> list[str]:
    """The resources, each for one node, as words for sbatch."""
    words = [f"--nodes={resources.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={resources.cpus}"]
    if resources.memory_bytes:
        words.append(f"--mem={max(1, math.ceil(resources.memory_bytes / 1024**2))}M")
    if resources.gpus:
        words.append(f"--gres=gpu:{resources.gpus}")
    if resources.walltime_s is not None:
        words.append(f"--time={max(1, math.ceil(resources.walltime_s / 60))}")
    return words
