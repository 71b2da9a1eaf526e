"""The batch system ``lsf``: its resource words, and what its hosts have."""

from __future__ import annotations

import math
from pathlib import Path

from wlmctl.batch import BatchJob, Capacity, Command
from wlmctl.jobs.queue.quantities import bytes_of, minutes_of
from wlmctl.jobs.queue.system import LOOK_TIMEOUT_S, NO_LISTING, QueueBatch
from wlmctl.task import Resources
from wlmctl.transport import Completed
from wlmctl_batch_lsf.options import LsfOptions


class LsfBatch(QueueBatch[LsfOptions]):
    """Jobs of an LSF cluster; implements ``TellsCapacity``, too."""

    title = "LSF"
    texts = Path(__file__).parent
    execution = "$LSB_JOBID 0"
    no_answer = (
        r"LSF is down|not responding|[Cc]onnection|ommunication|[Tt]imed out|emporarily"
        r"|ailed in an LSF library call"
    )

    def words(self, job: BatchJob, options: LsfOptions) -> list[str]:
        """Resources and options as words for bsub."""
        return [*requested(job.resources), *options.arguments()]

    def capacity(self) -> Command:
        """A line a host."""
        return Command(f"LC_ALL=C lshosts -w || exit {NO_LISTING}", timeout_s=LOOK_TIMEOUT_S)

    def told_capacity(self, completed: Completed) -> Capacity:
        """The most of each that a host has; an lshosts that fails tells nothing, and none tells of GPUs."""
        rows = [line.split() for line in completed.stdout.decode("utf-8", "replace").splitlines()]
        if completed.exit_code != 0 or not rows or not {"ncpus", "maxmem"} <= set(rows[0]):
            return Capacity()
        cpus, memory = rows[0].index("ncpus"), rows[0].index("maxmem")
        hosts = [row for row in rows[1:] if len(row) > memory]
        return Capacity(
            max((int(row[cpus]) for row in hosts if row[cpus].isdecimal()), default=None),
            max((size for row in hosts if (size := bytes_of(row[memory]))), default=None),
        )


def requested(resources: Resources) -> list[str]:
    """The resources, each for one host, as words for bsub."""
    words = ["-n", str(resources.nodes * resources.cpus), "-R", f"span[ptile={resources.cpus}]"]
    if resources.memory_bytes:
        megabytes = max(1, math.ceil(resources.memory_bytes / 1024**2))
        words += ["-M", f"{megabytes}MB", "-R", f"rusage[mem={megabytes}MB]"]
    if resources.gpus:
        words += ["-gpu", f"num={resources.gpus}"]
    if resources.walltime_s is not None:
        words += ["-W", str(minutes_of(resources.walltime_s))]
    return words
