"""The task type ``count``: counts the lines or bytes of a file on any machine, and gives the numbers as outputs.

type: count
machine: share
file: poem.txt
outputs: {verses: lines, size: bytes}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.task import Done
from wlmctl.task_context import TaskContext

COUNTED = {"lines": lambda chunk: chunk.count(b"\n"), "bytes": len}


@dataclass(frozen=True, slots=True)
class CountSpec:
    """The task's own keys; ``outputs`` maps an output's name to what it counts."""

    file: str
    machine: str = "local"
    outputs: Mapping[str, str] = field(default_factory=dict)


class Count:
    """Reading changes nothing, so that a second execution converges by itself."""

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> CountSpec:
        for key in mapping:
            if key not in ("file", "machine", "outputs"):
                raise SpecError(key, "an unknown key", "file, machine or outputs")
        if "file" not in mapping:
            raise SpecError("file", "nothing", "the path of a file")
        for key in ("file", "machine"):
            if not isinstance(mapping.get(key, ""), str):
                raise SpecError(key, repr(mapping[key]), "a text")
        outputs = mapping.get("outputs", {})
        if not isinstance(outputs, Mapping):
            raise SpecError("outputs", repr(outputs), "a mapping such as {verses: lines}")
        for name, what in outputs.items():
            if not isinstance(what, str) or what not in COUNTED:
                raise SpecError(f"outputs.{name}", repr(what), " or ".join(COUNTED))
        return CountSpec(**mapping)

    def machines(self, spec: CountSpec) -> Sequence[str]:
        return [spec.machine]

    def execute(self, spec: CountSpec, context: TaskContext) -> Done:
        path = spec.file if spec.file.startswith("/") else f"{context.folder(spec.machine)}/{spec.file}"
        counts = dict.fromkeys(spec.outputs, 0)
        context.check_cancelled()
        with context.transport(spec.machine) as transport:
            for chunk in transport.read(path):
                context.check_cancelled()
                for name, what in spec.outputs.items():
                    counts[name] += COUNTED[what](chunk)
        return Done(outputs={name: str(count) for name, count in counts.items()})
