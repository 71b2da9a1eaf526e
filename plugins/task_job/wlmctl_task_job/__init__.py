"""The task type ``job``: a script that the batch system of a machine runs while nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import wlmctl

if TYPE_CHECKING:
    from wlmctl.task import TaskType


def new_job_type() -> TaskType:
    """The task type."""
    from wlmctl_task_job.job import JobType

    return JobType()


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    """The task types that this plugin offers."""
    return {"job": new_job_type}
