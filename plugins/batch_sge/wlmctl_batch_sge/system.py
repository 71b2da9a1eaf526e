"""The batch system ``sge``: its resource words, and what its hosts have."""

from __future__ import annotations

import math
from pathlib import Path

from wlmctl.batch import BatchJob, Capacity, Command
from wlmctl.errors import TaskFailed
from wlmctl.jobs.queue.quantities import bytes_of, minutes_of
from wlmctl.jobs.queue.system import LOOK_TIMEOUT_S, NO_LISTING, QueueBatch
from wlmctl.transport import Completed
from wlmctl_batch_sge.options import SgeOptions


class SgeBatch(QueueBatch[SgeOptions]):
    """Jobs of a Grid Engine cluster; implements ``TellsCapacity``, too."""

    title = "Grid Engine"
    texts = Path(__file__).parent
    execution = "$JOB_ID ${RESTARTED:-0}"
    no_answer = r"commlib|ommunication|[Tt]imed out|nable to (contact|send|connect)"
    kills_at_once = True

    def words(self, job: BatchJob, options: SgeOptions) -> list[str]:
        """Resources and options as words for qsub."""
        resources, words = job.resources, []
        slots = resources.nodes * resources.cpus
        if slots > 1:
            if options.parallel_environment is None:
                raise TaskFailed(
                    f"batch.sge.parallel_environment: missing, and needed for {slots} cpus; `qconf -spl` lists what "
                    "there is"
                )
            words += ["-pe", options.parallel_environment, str(slots)]
        if resources.memory_bytes:
            share = max(1, math.ceil(resources.memory_bytes / resources.cpus / 1024**2))
            words += ["-l", f"{options.memory_resource}={share}M"]
        if resources.gpus:
            words += ["-l", f"{options.gpu_resource}={resources.gpus}"]
        if resources.walltime_s is not None:
            words += ["-l", f"h_rt={60 * minutes_of(resources.walltime_s)}"]
        return [*words, *options.arguments()]

    def capacity(self) -> Command:
        """A line a host."""
        return Command(f"LC_ALL=C qhost || exit {NO_LISTING}", timeout_s=LOOK_TIMEOUT_S)

    def told_capacity(self, completed: Completed) -> Capacity:
        """The most of each that a host has; GPUs are what a cluster calls so, and are not told."""
        rows = [line.split() for line in completed.stdout.decode("utf-8", "replace").splitlines()]
        if completed.exit_code != 0 or not rows or not {"NCPU", "MEMTOT"} <= set(rows[0]):
            return Capacity()
        cpus, memory = rows[0].index("NCPU"), rows[0].index("MEMTOT")
        hosts = [row for row in rows[1:] if len(row) == len(rows[0]) and row[cpus].isdecimal()]
        return Capacity(
            max((int(row[cpus]) for row in hosts), default=None),
            max((size for row in hosts if (size := bytes_of(row[memory]))), default=None),
        )
