"""The batch system ``pbs``: its resource words, and what its nodes have."""

from __future__ import annotations

import math
import re
from pathlib import Path

from wlmctl.batch import BatchJob, Capacity, Command
from wlmctl.jobs.queue.quantities import bytes_of, minutes_of
from wlmctl.jobs.queue.system import LOOK_TIMEOUT_S, NO_LISTING, QueueBatch
from wlmctl.task import Resources
from wlmctl.transport import Completed
from wlmctl_batch_pbs.options import PbsOptions

_VALUE = re.compile(r"^ +([A-Za-z_.]+) = (.*)$", re.MULTILINE)


class PbsBatch(QueueBatch[PbsOptions]):
    """Jobs of a cluster with OpenPBS, PBS Pro or Torque; implements ``TellsCapacity``, too."""

    title = "PBS"
    texts = Path(__file__).parent
    execution = "$PBS_JOBID 0"
    no_answer = (
        r"[Cc]onnection|annot connect|ommunication|[Tt]imed out|xpired|o Permission.*trqauthd"
        r"|erver shutting down|erver is busy"
    )

    def words(self, job: BatchJob, options: PbsOptions) -> list[str]:
        """First the nodes in the words of PBS Pro, which a login node with Torque puts into its own."""
        words = ["-l", chunks(job.resources)]
        if job.resources.nodes > 1 and not any("place=" in word for word in options.extra):
            words += ["-l", "place=scatter"]
        if job.resources.walltime_s is not None:
            hours, minutes = divmod(minutes_of(job.resources.walltime_s), 60)
            words += ["-l", f"walltime={hours:02}:{minutes:02}:00"]
        return [*words, *options.arguments()]

    def capacity(self) -> Command:
        """All that is told of each node."""
        return Command(f"LC_ALL=C pbsnodes -a || exit {NO_LISTING}", timeout_s=LOOK_TIMEOUT_S)

    def told_capacity(self, completed: Completed) -> Capacity:
        """The most of each that a node has; a pbsnodes that fails tells nothing."""
        if completed.exit_code != 0:
            return Capacity()
        nodes = [dict(_VALUE.findall(text)) for text in completed.stdout.decode("utf-8", "replace").split("\n\n")]
        found = [_node(values) for values in nodes if values]
        if not found:
            return Capacity()
        cpus, memory, gpus = (max(node[at] for node in found) for at in range(3))
        return Capacity(cpus or None, memory or None, gpus)


def _node(values: dict[str, str]) -> tuple[int, int, int]:
    """Cpus, bytes of memory and GPUs of a node, in PBS Pro's words or in Torque's; 0 where they are not told."""
    status = dict(item.partition("=")[::2] for item in values.get("status", "").split(","))
    cpus = values.get("resources_available.ncpus") or values.get("np", "")
    memory = values.get("resources_available.mem") or status.get("physmem", "")
    gpus = values.get("resources_available.ngpus") or values.get("gpus", "")
    return (
        int(cpus) if cpus.isdecimal() else 0,
        bytes_of(memory) or 0,
        int(gpus) if gpus.isdecimal() else 0,
    )


def chunks(resources: Resources) -> str:
    """The nodes as PBS Pro's ``select``."""
    words = [str(resources.nodes), f"ncpus={resources.cpus}"]
    if resources.memory_bytes:
        words.append(f"mem={max(1, math.ceil(resources.memory_bytes / 1024**2))}mb")
    if resources.gpus:
        words.append(f"ngpus={resources.gpus}")
    return "select=" + ":".join(words)
