"""The hooks of this distribution: what it offers, by name. What is heavy is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import wlmctl
from wlmctl.scheduler import SchedulerFactory
from wlmctl.task import TaskType
from wlmctl.transport import TransportFactory
from wlmctl_example.count import Count
from wlmctl_example.folder import FolderTransport
from wlmctl_example.newest import Newest


@wlmctl.hookimpl
def wlmctl_transports() -> Mapping[str, TransportFactory]:
    return {"folder": FolderTransport}


@wlmctl.hookimpl
def wlmctl_schedulers() -> Mapping[str, SchedulerFactory]:
    return {"newest": Newest}


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    return {"count": Count}


@wlmctl.hookimpl
def wlmctl_commands() -> Mapping[str, str]:
    return {"hello": "wlmctl_example.hello:hello"}
