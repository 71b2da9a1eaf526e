"""The task type ``stage``: files from machines to a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import wlmctl

if TYPE_CHECKING:
    from wlmctl.task import TaskType


def make_stage() -> TaskType:
    """The task type."""
    from wlmctl_task_stage.stage import Stage

    return Stage()


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    """The task types that this plugin offers."""
    return {"stage": make_stage}
