"""The script of a job: what the machine's shell is given to run, and for how long."""

from __future__ import annotations

import math
from shlex import quote

from wlmctl.batch import BatchJob
from wlmctl.machine import Machine


def job_script(job: BatchJob, machine: Machine) -> str:
    """Exports, the machine's preamble, the job's own environment, then ``set -e``, the directory and the job's text.

    The job's own values come behind the preamble, so that a profile or a module does not win over them.
    """
    own = dict(job.env)
    if job.devices is not None:
        own["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, job.devices))
    lines = [
        *_exports(
            {
                "WLMCTL_EXPERIMENT": job.experiment,
                "WLMCTL_TASK": job.task,
                "WLMCTL_ATTEMPT": str(job.attempt),
                "WLMCTL_FOLDER": job.experiment_folder or job.directory,
                "WLMCTL_TOKEN": job.token,
            }
        ),
        *([machine.preamble] if machine.preamble else []),
        *_exports(own),
        "set -e",
        f"cd -- {quote(job.directory)}",
        job.script,
    ]
    return "\n".join(lines) + "\n"


def walltime_text(job: BatchJob) -> str:
    """The walltime in whole seconds, empty where there is none."""
    walltime_s = job.resources.walltime_s
    return "" if walltime_s is None else str(max(1, math.ceil(walltime_s)))


def _exports(values: dict[str, str]) -> list[str]:
    return [f"export {name}={quote(value)}" for name, value in values.items()]
