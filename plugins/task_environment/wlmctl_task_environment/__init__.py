"""The task type ``environment``: folders, files and set-up commands on a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import wlmctl

if TYPE_CHECKING:
    from wlmctl.task import TaskType


def make_environment() -> TaskType:
    """The task type."""
    from wlmctl_task_environment.environment import Environment

    return Environment()


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    """The task types that this plugin offers."""
    return {"environment": make_environment}
