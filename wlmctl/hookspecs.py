"""The hooks that a plugin may implement; each returns a mapping, so that registration is data.

A plugin's module marks its functions with ``wlmctl.hookimpl`` and is named by an entry point
``<kind>_<name>`` in the group ``wlmctl``. Factories import what is heavy when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory
    from wlmctl.scheduler import SchedulerFactory
    from wlmctl.task import TaskType
    from wlmctl.transport import TransportFactory

hookspec = pluggy.HookspecMarker("wlmctl")


@hookspec
def wlmctl_transports() -> Mapping[str, TransportFactory]:  # type: ignore[empty-body]
    """Kind ``transport``: name to ``factory(machine, options) -> Transport`` (``wlmctl.transport``)."""


@hookspec
def wlmctl_schedulers() -> Mapping[str, SchedulerFactory]:  # type: ignore[empty-body]
    """Kind ``scheduler``: name to ``factory(options) -> Scheduler`` (``wlmctl.scheduler``)."""


@hookspec
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:  # type: ignore[empty-body]
    """Kind ``task``: name to ``factory() -> TaskType`` (``wlmctl.task``)."""


@hookspec
def wlmctl_batch_systems() -> Mapping[str, BatchFactory]:  # type: ignore[empty-body]
    """Kind ``batch``: name to ``factory(machine, options) -> BatchSystem`` (``wlmctl.batch``)."""


@hookspec
def wlmctl_commands() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Kind ``command``: name to ``"module:function"``, a click command that is imported when it runs."""
