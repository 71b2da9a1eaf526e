"""A plugin whose task types do nothing, so that what wlmctl itself costs a task can be seen.

``noop`` is done at once, or after a time; ``endless`` goes on without a worker until it is told to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wlmctl
from wlmctl.errors import SpecError
from wlmctl.quantities import parse_duration
from wlmctl.spec import check_keys, found, has_placeholder
from wlmctl.task import Deferred, Done, Gone, PollAnswer, Running, TaskType
from wlmctl.task_context import PollContext, TaskContext

#: How often a waiting execution looks whether it is to stop.
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class NoopSpec:
    """How long it takes (key ``takes``: 100ms)."""

    takes_s: float = field(default=0.0, metadata={"key": "takes", "schema": {"type": ["string", "number"]}})


class Noop:
    """Succeeds, at once or after a time in which it keeps a slot of its worker."""

    spec_type = NoopSpec

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> NoopSpec:  # noqa: ARG002
        """One key, and it may be left out."""
        check_keys(mapping, ("takes",))
        value = mapping.get("takes", 0)
        if isinstance(value, str) and has_placeholder(value):
            return NoopSpec()
        try:
            return NoopSpec(parse_duration(value))
        except ValueError as error:
            raise SpecError("takes", f"found {found(value)}", str(error)) from None

    def machines(self, spec: NoopSpec) -> Sequence[str]:  # noqa: ARG002
        """It is nowhere."""
        return ("local",)

    def execute(self, spec: NoopSpec, context: TaskContext) -> Done:
        """Wait, if that was asked for."""
        if spec.takes_s:
            end_s = time.monotonic() + spec.takes_s
            while (left_s := end_s - time.monotonic()) > 0:
                context.check_cancelled()
                time.sleep(min(left_s, _LOOK_S))
        return Done()


@dataclass(frozen=True, slots=True)
class EndlessSpec:
    """It has no keys."""


class Endless:
    """Work as in a batch system without a machine: it runs for ever, and is gone as soon as it is to end."""

    spec_type = EndlessSpec

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> EndlessSpec:  # noqa: ARG002
        """No keys."""
        check_keys(mapping, ())
        return EndlessSpec()

    def machines(self, spec: EndlessSpec) -> Sequence[str]:  # noqa: ARG002
        """It is nowhere."""
        return ("local",)

    def execute(self, spec: EndlessSpec, context: TaskContext) -> Deferred:  # noqa: ARG002
        """Start, and leave it alone."""
        return Deferred({"token": context.token})

    def poll(self, handles: Mapping[str, Mapping[str, Any]], context: PollContext) -> Mapping[str, PollAnswer]:  # noqa: ARG002
        """All of them run."""
        return dict.fromkeys(handles, Running())

    def cancel(self, handle: Mapping[str, Any], context: PollContext) -> PollAnswer:  # noqa: ARG002
        """End it."""
        return Gone()


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    """The task types ``noop`` and ``endless``."""
    return {"noop": Noop, "endless": Endless}


def install(folder: Path) -> dict[str, str]:
    """Write a distribution that offers this plugin; the environment variables with which it counts as installed."""
    info = folder / "wlmctl_testing_noop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wlmctl-testing-noop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wlmctl]\ntask_noop = wlmctl.testing.noop\n")
    return {"PYTHONPATH": str(folder)}
