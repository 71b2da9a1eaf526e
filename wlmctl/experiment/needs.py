"""``needs``: how an edge is written, and which template and instances it names."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Literal

from wlmctl.experiment.fields import Fields, described
from wlmctl.experiment.mistakes import Mistakes, quoted
from wlmctl.experiment.model import Need
from wlmctl.experiment.names import NAME_PATTERN, instance_label
from wlmctl.experiment.values import key_label
from wlmctl.experiment.yamltree import Mapping, Node, Scalar, Sequence
from wlmctl.suggest import did_you_mean

_TEXT = re.compile(rf"({NAME_PATTERN})(?:\[([^\[\]]+)\])?")
_FORMS = 'a task, {TASK: ended}, or with quotes "TASK[${KEY}]" for the partner and "TASK[1]" for one instance'
_HOW = ("succeeded", "ended")


@dataclass(frozen=True, slots=True)
class WrittenNeed:
    """A need as it stands in the file."""

    task: str
    label: str | None
    how: Literal["succeeded", "ended"]
    line: int
    key: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What a need must know of a task: its ``foreach``; keys None where that is wrong."""

    keys: tuple[str, ...] | None
    rows: list[tuple[str, ...]]


def read_needs(fields: Fields) -> list[WrittenNeed]:
    """The needs of a task; mistakes are noted in ``fields``."""
    node = fields.get("needs")
    if node is None:
        if "needs" in fields.node.items:
            fields.wrong("needs", "found nothing", "a list such as [setup]", "leave the key out")
        return []
    if not isinstance(node, Sequence):
        fields.wrong("needs", f"found {described(node)}", "a list such as [setup]")
        return []
    needs = [_read(fields, item, f"{fields.key('needs')}[{index}]") for index, item in enumerate(node.items)]
    return [need for need in needs if need is not None]


def _read(fields: Fields, node: Node, key: str) -> WrittenNeed | None:
    how: Literal["succeeded", "ended"] = "succeeded"
    text, condition = node, None
    if isinstance(node, Mapping) and len(node.items) == 1:
        ((written, condition),) = node.items.items()
        text = Scalar(written, False, node.line)
    if not isinstance(text, Scalar) or (match := _TEXT.fullmatch(text.text)) is None:
        fields.mistakes.add(node.line, key, f"found {described(node)}", _FORMS)
        return None
    if condition is not None:
        word = condition.text if isinstance(condition, Scalar) else ""
        if word not in _HOW:
            hint = did_you_mean(word, _HOW)
            fields.mistakes.add(condition.line, key, f"found {described(condition)}", "succeeded or ended", hint)
            return None
        how = "ended" if word == "ended" else "succeeded"
    return WrittenNeed(match[1], match[2], how, node.line, key)


class NeedResolution:
    """Turns written needs into edges; keeps the positions of a task's labels, once they are asked for."""

    def __init__(self, tasks: MappingOf[str, Rows], mistakes: Mistakes) -> None:
        self._tasks, self._mistakes = tasks, mistakes
        self._positions: dict[str, dict[str, int]] = {}

    def resolve(self, task: str, written: list[WrittenNeed]) -> tuple[Need, ...]:
        """The edges of ``task``; what is wrong is noted."""
        needs: list[Need] = []
        for need in written:
            edge = self._edge(task, need)
            if edge is None:
                continue
            if any(edge.task == other.task and _overlap(edge, other) for other in needs):
                self._mistakes.add(need.line, need.key, f"the task {need.task!r} again", "each task once")
                continue
            needs.append(edge)
        return tuple(needs)

    def position(self, task: str, label: str) -> int | None:
        """Which instance of ``task`` has that label, None when none has."""
        if task not in self._positions:
            rows = self._tasks[task].rows
            self._positions[task] = {instance_label(row, position): position for position, row in enumerate(rows)}
        return self._positions[task].get(label)

    def _edge(self, task: str, need: WrittenNeed) -> Need | None:
        target = self._tasks.get(need.task)
        if target is None:
            hint = did_you_mean(need.task, [name for name in self._tasks if name != task])
            self._mistakes.add(need.line, need.key, f"no task {need.task!r} in this file", "a task of this file", hint)
            return None
        if need.label is None or target.keys is None:
            return Need(need.task, need.how)
        found = f"{need.task}[{need.label}]"
        if not target.keys:
            self._mistakes.add(need.line, need.key, found, f"{need.task} alone, since that task has no foreach")
            return None
        if (keys := key_label(need.label)) is not None:
            return self._partner(task, need, keys, target)
        position = self.position(need.task, need.label)
        if position is None:
            self._mistakes.add(
                need.line,
                need.key,
                f"no instance {quoted(found)}",
                f"one of {need.task}[{self._first_labels(need.task)}]",
            )
            return None
        return Need(need.task, need.how, position)

    def _partner(self, task: str, need: WrittenNeed, keys: tuple[str, ...], target: Rows) -> Need | None:
        own = self._tasks[task]
        if own.keys is None:
            return Need(need.task, need.how, "same")
        label = ",".join(f"${{{key}}}" for key in target.keys or ())
        if own.keys != target.keys or own.rows != target.rows:
            found = f"{need.task}[{need.label}]"
            hint = f"write {need.task} for all its instances"
            self._mistakes.add(need.line, need.key, found, f"the same foreach in {task} and {need.task}", hint)
            return None
        if keys != target.keys:
            self._mistakes.add(need.line, need.key, f"{need.task}[{need.label}]", f"{need.task}[{label}]")
            return None
        return Need(need.task, need.how, "same")

    def _first_labels(self, task: str) -> str:
        labels = list(self._positions[task])
        return labels[0] if len(labels) == 1 else f"{labels[0]}] to {task}[{labels[-1]}"


def _overlap(one: Need, other: Need) -> bool:
    return not isinstance(one.which, int) or not isinstance(other.which, int) or one.which == other.which
