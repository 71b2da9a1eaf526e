"""The batch system ``slurm``: its resource words, and what its nodes have."""

from __future__ import annotations

import math
import re
from pathlib import Path
from shlex import quote

from wlmctl.batch import BatchJob, Capacity, Command
from wlmctl.jobs.queue.system import LOOK_TIMEOUT_S, NO_LISTING, QueueBatch
from wlmctl.task import Resources
from wlmctl.transport import Completed
from wlmctl_batch_slurm.options import SlurmOptions


class SlurmBatch(QueueBatch[SlurmOptions]):
    """Jobs of a Slurm cluster; implements ``TellsCapacity``, too."""

    title = "Slurm"
    texts = Path(__file__).parent
    execution = "$SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0}"
    no_answer = (
        r"[Tt]imed out|nable to contact|ocket|emporarily|ommunication|onnect|Broken pipe|end failure"
        r"|eceive failure|Zero Bytes|eader lengths|message length|standby|redential"
    )
    array_index = "$SLURM_ARRAY_TASK_ID"

    def words(self, job: BatchJob, options: SlurmOptions) -> list[str]:
        """Resources and options as words for sbatch."""
        return [*requested(job.resources), *options.arguments()]

    def capacity(self) -> Command:
        """A line a node, of the partition where one is set."""
        partition = f" -p {quote(self.options.partition)}" if self.options.partition else ""
        sinfo = f"LC_ALL=C sinfo -a -h -N -o 'wlm-node|%c|%m|%G'{partition}"
        return Command(f"{sinfo} || exit {NO_LISTING}", timeout_s=LOOK_TIMEOUT_S)

    def told_capacity(self, completed: Completed) -> Capacity:
        """The most of each that a node has; a sinfo that fails tells nothing."""
        rows = [line.split("|") for line in completed.stdout.decode("utf-8", "replace").splitlines()]
        nodes = [row for row in rows if len(row) == 4 and row[0] == "wlm-node"]
        if completed.exit_code != 0 or not nodes:
            return Capacity()
        cpus, memory_mb = (max(_count(row[at]) for row in nodes) for at in (1, 2))
        return Capacity(cpus or None, memory_mb * 1024**2 or None, max(_gpus(row[3]) for row in nodes))


def _count(text: str) -> int:
    """``8`` or ``8+`` as sinfo prints it."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _gpus(text: str) -> int:
    """The GPUs in generic resources as sinfo prints them: ``gpu:2``, ``gpu:a100:4(S:0-1),shard:8``."""
    return sum(int(found[1]) for found in re.finditer(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", text))


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
