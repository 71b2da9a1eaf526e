"""The small part of JSONPath that names one value: ``$.a.b[0]['odd key']``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(r"""\.([A-Za-z0-9_-]+)|\[(-?[0-9]+)\]|\['([^']*)'\]|\["([^"]*)"\]""")


class NotThere(Exception):
    """The document has nothing at the path; the text says from where on."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """Keys and positions, from the document's root on."""

    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath | None:
        """The path, or None for a text that is none."""
        if not text.startswith("$"):
            return None
        steps: list[str | int] = []
        position = 1
        while position < len(text):
            step = _STEP.match(text, position)
            if step is None:
                return None
            name, index, single, double = step.groups()
            steps.append(int(index) if index is not None else next(s for s in (name, single, double) if s is not None))
            position = step.end()
        return cls(tuple(steps))

    def find(self, document: Any) -> Any:
        """The value at the path; ``NotThere`` when there is none."""
        found, where = document, "$"
        for step in self.steps:
            match found, step:
                case dict(), str() if step in found:
                    found = found[step]
                case list(), int() if -len(found) <= step < len(found):
                    found = found[step]
                case _:
                    raise NotThere(f"{where} has no {step!r}")
            where += f"[{step}]" if isinstance(step, int) else f".{step}"
        return found
