"""A plugin whose task type ``noop`` does nothing, so that what wlmctl itself costs a task can be seen."""

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
from wlmctl.task import Done, TaskContext, TaskType

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


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    """The task type ``noop``."""
    return {"noop": Noop}


def install(folder: Path) -> dict[str, str]:
    """Write a distribution that offers this plugin; the environment variables with which it counts as installed."""
    info = folder / "wlmctl_testing_noop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wlmctl-testing-noop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wlmctl]\ntask_noop = wlmctl.testing.noop\n")
    return {"PYTHONPATH": str(folder)}
