"""The tasks of a template: its texts with one row of ``foreach`` values, and run-time values, put in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.experiment.common import Common, parse_common
from wlmctl.experiment.model import Instance, Template
from wlmctl.experiment.names import instance_label
from wlmctl.experiment.tasks import is_shell_text
from wlmctl.experiment.values import PARTNER, Reference, check_command_value, mark, parse_reference, split_marks
from wlmctl.spec import PLACEHOLDER_BEGIN, has_placeholder
from wlmctl.task import TaskType

TaskTypes = Callable[[str], TaskType]


def instance(
    template: Template, position: int, runtime: Mapping[str, str] | None = None, *, task_type: TaskTypes
) -> Instance:
    """The instance at ``position``, from 0; for many, make one ``Instances``. ``SpecError`` where it does not fit."""
    return Instances(template, task_type).at(position, runtime)


def runtime_references(template: Template) -> set[tuple[str, str, str]]:
    """The run-time values that the template uses: task, ``folder`` or ``output``, and the output's key."""
    references = (parse_reference(name) for name in marked_names([template.text, template.common]))
    return {(each.task, each.kind, each.key) for each in references if each is not None}


def marked_names(value: Any) -> set[str]:
    """The names of everything in a checked text that is not known yet."""
    return {name for text in _texts(value) if PLACEHOLDER_BEGIN in text for name in split_marks(text)[1::2]}


class Instances:
    """The instances of ``template``. What does not depend on ``${...}`` is worked out once.

    ``task_type`` looks a task type up; ``folder`` is handed to its ``parse``.
    """

    def __init__(self, template: Template, task_type: TaskTypes, folder: Path | None = None) -> None:
        self.template, self.folder = template, folder or Path()
        self._task_type = task_type
        common_names = marked_names(template.common)
        self._names = common_names | marked_names(template.text)
        self._text = _compile(template.text, template.keys, "") if self._names else None
        self._common = _compile(template.common, template.keys, "") if common_names else None
        self._roles: tuple[tuple[str, ...] | None] | None = None
        self._references: list[Reference] | None = None
        self._only: Instance | None = None
        self._only_common: Common | None = None

    def at(self, position: int, runtime: Mapping[str, str] | None = None) -> Instance:
        """The instance at ``position``. A run-time value that is not given stays a placeholder.

        ``SpecError`` for what does not fit, a run-time value that may not stand in a command text included.
        """
        if self._only is not None:
            return self._only
        text = self.text(position, runtime)
        roles = self.constant_roles()
        if roles is None:
            kind = self._task_type(self.template.type)
            roles = tuple(kind.machines(kind.parse(text, self.folder)))
        common = self.common(position, runtime)
        made = Instance(
            text, roles, common.resources, common.retry, common.timeout_s, common.worker_labels, common.counters
        )
        if not self._names:
            self._only = made
        return made

    def text(self, position: int, runtime: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The task type's own keys of that instance."""
        if self._text is None:
            return self.template.text
        filled: Mapping[str, Any] = self._text(_Filling(self.template.rows[position], position, runtime or {}))
        return filled

    def common(self, position: int, runtime: Mapping[str, str] | None = None) -> Common:
        """The common keys of that instance, as far as they are known."""
        if self._only_common is not None:
            return self._only_common
        common = parse_common(self.common_text(position, runtime))
        if self._common is None:
            self._only_common = common
        return common

    def common_text(self, position: int, runtime: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The common keys of that instance as they are written."""
        if self._common is None:
            return self.template.common
        filled: Mapping[str, Any] = self._common(_Filling(self.template.rows[position], position, runtime or {}))
        return filled

    def runtime_names(self, position: int) -> tuple[str, ...]:
        """The names of the run-time values that the instance at ``position`` needs."""
        if self._references is None:
            found = [parse_reference(name) for name in self._names]
            self._references = [each for each in found if each is not None]
        if not self._references:
            return ()
        row = self.template.rows[position]
        return tuple(sorted(_own_name(each, row, position) for each in self._references))

    def distinct(self, value: Any) -> Iterator[int]:
        """The first position of each combination of ``foreach`` values that ``value``, a part of the template, uses."""
        if len(self.template.rows) == 1:
            yield 0
            return
        names = marked_names(value)
        used = [index for index, key in enumerate(self.template.keys) if key in names]
        if len(used) == len(self.template.keys):
            yield from range(len(self.template.rows))
            return
        seen: set[tuple[str, ...]] = set()
        for position, row in enumerate(self.template.rows):
            values = tuple([row[index] for index in used])
            if values not in seen:
                seen.add(values)
                yield position

    def constant_roles(self) -> tuple[str, ...] | None:
        """The roles of every instance, or None where they depend on values."""
        if self._roles is None:
            # A type accepts placeholders wherever text is, so a role without one is every instance's.
            kind = self._task_type(self.template.type)
            try:
                roles = tuple(kind.machines(kind.parse(self.template.text, self.folder)))
            except SpecError:
                roles = (PLACEHOLDER_BEGIN,)
            self._roles = (None,) if any(map(has_placeholder, roles)) else (roles,)
        return self._roles[0]


class _Filling:
    """What is put into a text: a row, and the run-time values that are known."""

    __slots__ = ("position", "row", "runtime")

    def __init__(self, row: tuple[str, ...], position: int, runtime: Mapping[str, str]) -> None:
        self.row, self.position, self.runtime = row, position, runtime


_Fill = Callable[[_Filling], Any]


def _compile(value: Any, keys: tuple[str, ...], path: str) -> _Fill:
    """A function that gives ``value`` with its marks filled in; parts without marks are shared, never copied."""
    if not marked_names(value):
        return lambda _filling: value
    if isinstance(value, str):
        return _compile_text(value, keys, is_shell_text(path))
    if isinstance(value, Mapping):
        entries = [
            (_compile(name, keys, ""), _compile(item, keys, f"{path}.{name}" if path else name))
            for name, item in value.items()
        ]
        return lambda filling: _filled_mapping(entries, filling, path)
    items = [_compile(item, keys, f"{path}[{index}]") for index, item in enumerate(value)]
    return lambda filling: [fill(filling) for fill in items]


def _filled_mapping(entries: list[tuple[_Fill, _Fill]], filling: _Filling, path: str) -> dict[str, Any]:
    filled = {name(filling): item(filling) for name, item in entries}
    if len(filled) != len(entries):
        raise SpecError(path, "two keys are the same once their values are put in", "each key once")
    return filled


def _compile_text(text: str, keys: tuple[str, ...], in_shell: bool) -> _Fill:
    parts: list[str | int | Reference] = []
    for index, part in enumerate(split_marks(text)):
        if index % 2 == 0:
            parts.append(part)
        else:
            parts.append(keys.index(part) if part in keys else _reference(part))

    def fill(filling: _Filling) -> str:
        row = filling.row
        return "".join(
            [
                part if isinstance(part, str) else row[part] if isinstance(part, int) else known(part, filling)
                for part in parts
            ]
        )

    def known(reference: Reference, filling: _Filling) -> str:
        name = _own_name(reference, filling.row, filling.position)
        value = filling.runtime.get(name)
        if value is None:
            return mark(name)
        if in_shell:
            check_command_value(value, name)
        return value

    return fill


def _reference(name: str) -> Reference:
    reference = parse_reference(name)
    if reference is None:
        raise SpecError("", f"no value is called {name!r}", "a foreach key or a run-time value")
    return reference


def _own_name(reference: Reference, row: tuple[str, ...], position: int) -> str:
    if reference.label == PARTNER:
        reference = Reference(reference.task, instance_label(row, position), reference.kind, reference.key)
    return str(reference)


def _texts(value: Any) -> Iterator[str]:
    # A plain loop: this looks at every text of a file.
    left = [value]
    while left:
        current = left.pop()
        if type(current) is str:
            yield current
        elif isinstance(current, dict):
            left.extend(current)
            left.extend(current.values())
        elif isinstance(current, list | tuple):
            left.extend(current)
