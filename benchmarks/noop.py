"""A plugin whose task type does nothing at all, so that what wlmctl itself costs a task can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wlmctl
from wlmctl.task import Done, TaskContext, TaskType


@dataclass(frozen=True, slots=True)
class NoopSpec:
    """Nothing to say."""


class Noop:
    """Succeeds at once."""

    spec_type = NoopSpec

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> NoopSpec:  # noqa: ARG002
        """There are no keys."""
        return NoopSpec()

    def machines(self, spec: NoopSpec) -> Sequence[str]:  # noqa: ARG002
        """It is nowhere."""
        return ("local",)

    def execute(self, spec: NoopSpec, context: TaskContext) -> Done:  # noqa: ARG002
        """Done."""
        return Done()


@wlmctl.hookimpl
def wlmctl_task_types() -> Mapping[str, Callable[[], TaskType]]:
    """The task type ``noop``."""
    return {"noop": Noop}


def install(folder: Path) -> dict[str, str]:
    """Write a distribution that offers this plugin; the environment variables with which it counts as installed."""
    info = folder / "wlmctl_bench_noop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wlmctl-bench-noop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wlmctl]\ntask_noop = benchmarks.noop\n")
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parent.parent}"}
