"""Alibaba's ``cluster-trace-gpu-v2023``: a CSV of pods, of which those with one GPU are the jobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wlmctl.simulation import files
from wlmctl.simulation.machines_file import rows
from wlmctl.simulation.workload import Job

#: The columns that are read.
POD_COLUMNS = (
    "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_spec", "qos", "creation_time", "deletion_time", "scheduled_time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodTrace:
    """The jobs; how many pods never ran, and how many ask for no GPU or for several."""

    jobs: Sequence[Job]
    never_ran: int
    other_gpus: int


def read_pods(path: Path) -> PodTrace:
    """The pods with one GPU that ran, typed slots to a scheduler; a part of a GPU or of a cpu counts as a whole one."""
    jobs, never_ran, other_gpus = list[Job](), 0, 0
    for line, row in rows(path, POD_COLUMNS):
        gpus = files.whole(path, line, "num_gpu", row["num_gpu"], 0)
        if gpus != 1:
            other_gpus += 1
            continue
        if not row["scheduled_time"] or not row["deletion_time"]:
            never_ran += 1
            continue
        start_s, end_s, arrive_s = (
            files.number(path, line, name, row[name]) for name in ("scheduled_time", "deletion_time", "creation_time")
        )
        if end_s < start_s:
            never_ran += 1
            continue
        milli = files.whole(path, line, "cpu_milli", row["cpu_milli"], 0)
        memory_bytes = files.whole(path, line, "memory_mib", row["memory_mib"], 0) * 2**20
        models = "|".join(sorted(word for word in row["gpu_spec"].split("|") if word))
        jobs.append(
            Job(
                arrive_s, end_s - start_s, max(1, math.ceil(milli / 1000)), memory_bytes, gpus,
                queue=row["qos"], wants=(models,) if models else (),
            )
        )  # fmt: skip
    if not jobs:
        files.wrong(path, None, "", "no pod with one GPU that ran", "a list of pods with their times")
    return PodTrace(jobs, never_ran, other_gpus)
