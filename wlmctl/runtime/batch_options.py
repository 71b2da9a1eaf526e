"""Whether batch systems take what tasks say to them, found out while the file is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from wlmctl import plugins
from wlmctl.batch import ChecksOptions
from wlmctl.errors import SpecError, WlmctlError
from wlmctl.machine import Machine
from wlmctl.spec import has_placeholder
from wlmctl.suggest import did_you_mean
from wlmctl.task import HasOptions, TaskType


def options_check(machines: Mapping[str, Machine]) -> Callable[[TaskType, Any], None]:
    """What raises ``SpecError`` for options in a spec that its batch system does not take.

    A system that only the orchestrator has is left to it, and so are values that are known only at run time.
    """
    elsewhere = {machine.batch for machine in machines.values()}

    @cache
    def system(name: str) -> object:
        with suppress(WlmctlError):  # of one that cannot be used it is told where it is needed
            return plugins.batch_factory(name)(Machine("any"), {})
        return None

    def check(kind: TaskType, spec: Any) -> None:
        for name, options in kind.batch_options(spec).items() if isinstance(kind, HasOptions) else ():
            installed = plugins.names("batch")
            if name not in installed and name not in elsewhere:
                there = f"one of {', '.join(installed)}"
                raise SpecError(f"batch.{name}", "no such batch system", there, did_you_mean(name, installed))
            batch = system(name) if options else None
            if isinstance(batch, ChecksOptions):
                batch.check_options({key: value for key, value in options.items() if not _is_open(value)})

    return check


def _is_open(value: Any) -> bool:
    """True for a text with a value that is known only at run time, or a list or mapping that has one."""
    if isinstance(value, Mapping):
        return any(map(_is_open, value.values()))
    return any(map(_is_open, value)) if isinstance(value, list) else isinstance(value, str) and has_placeholder(value)
