"""Installed plugins by kind and name. A lookup imports only the plugins of the kind that is looked up.

Errors: ``UnknownPlugin`` (with what is installed), ``PluginConflict`` (names both distributions).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from wlmctl.batch import BatchFactory
    from wlmctl.machine import Machine
    from wlmctl.plugins.index import PluginIndex, PluginInfo
    from wlmctl.scheduler import SchedulerFactory
    from wlmctl.task import TaskType
    from wlmctl.transport import TransportFactory

__all__ = [
    "batch_factory",
    "command",
    "command_names",
    "gathers",
    "installed",
    "listed",
    "moves_data",
    "names",
    "scheduler_factory",
    "task_type",
    "transport_factory",
]


@functools.cache
def _index() -> PluginIndex:
    """This process's index, made at the first lookup."""
    from wlmctl.plugins.index import PluginIndex

    return PluginIndex()


def transport_factory(name: str) -> TransportFactory:
    """``factory(machine, options) -> Transport`` of the transport ``name``."""
    return cast("TransportFactory", _index().find("transport", name))


def scheduler_factory(name: str) -> SchedulerFactory:
    """``factory(options) -> Scheduler`` of the scheduler ``name``."""
    return cast("SchedulerFactory", _index().find("scheduler", name))


def batch_factory(name: str) -> BatchFactory:
    """``factory(machine, options) -> BatchSystem`` of the batch system ``name``."""
    return cast("BatchFactory", _index().find("batch", name))


@functools.cache
def task_type(name: str) -> TaskType:
    """The task type ``name``: one object a process."""
    return cast("TaskType", _index().find("task", name)())


def moves_data(name: str) -> bool:
    """True for a task type whose steps move data (``wlmctl.task.Moves``); False also for one that cannot be used."""
    try:
        return bool(getattr(task_type(name), "moves_data", False))
    except Exception:  # a plugin may raise anything; who uses it says what is wrong with it
        return False


#: What is known of task types and batch systems: to look at the protocols costs more than an empty execution.
_gathering: dict[tuple[str, str], bool] = {}


def gathers(name: str, machine: Machine) -> bool:
    """True where many attempts of this task type are started together on ``machine`` (``wlmctl.task.Gathers``)."""
    if not machine.has_queue:
        return False
    known = _gathering.get((name, machine.batch))
    if known is None:
        from wlmctl.batch import SubmitsMany
        from wlmctl.task import Gathers

        try:
            found = task_type(name)
            batch = batch_factory(machine.batch)(machine, machine.batch_options)
        except Exception:  # as above; what is wrong may be this machine's options
            return False
        known = _gathering[name, machine.batch] = isinstance(found, Gathers) and isinstance(batch, SubmitsMany)
    return known


def names(kind: str) -> list[str]:
    """The usable names of a kind: ``transport``, ``scheduler``, ``task``, ``batch`` or ``command``."""
    return _index().names(kind)


def listed(kind: str) -> list[str]:
    """The names of a kind by their entry points alone: imports nothing, and may list one that cannot be used."""
    from wlmctl.plugins.entry_points import Installed

    return Installed().listed(kind)


def command_names() -> list[str]:
    """The commands that plugins add, by their entry points; imports nothing."""
    return listed("command")


def command(name: str) -> Any:
    """The click command that a plugin adds under ``name``, imported now."""
    import importlib

    place = _index().find("command", name)
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        from wlmctl.errors import PluginError

        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"command {name!r}: {place} cannot be imported: {reason}") from error


def installed() -> list[PluginInfo]:
    """Every installed plugin, the unusable ones with the reason; imports them all."""
    return _index().installed()
