"""One task of the file as a draft: its keys read and its params put in, before it is compared with the others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from wlmctl.experiment import common
from wlmctl.experiment.fields import Fields, described
from wlmctl.experiment.foreach import read_foreach
from wlmctl.experiment.mistakes import NOT_YET, Mistakes, quoted
from wlmctl.experiment.names import NAME_FORM, is_name
from wlmctl.experiment.needs import WrittenNeed, read_needs
from wlmctl.experiment.scalars import core_value
from wlmctl.experiment.values import (
    COMMAND_VALUE_FORM,
    COMMAND_VALUE_HINT,
    BadReference,
    Reference,
    Scope,
    bad_references,
    encode,
    is_command_value,
)
from wlmctl.experiment.yamltree import Mapping, Node, Scalar, Sequence

#: The keys of the core; all others are the task type's own.
OWN_KEYS = ("type", "needs", "foreach", "may_fail", *common.KEYS)
RESERVED = ("deadline",)


@dataclass(frozen=True, slots=True)
class Use:
    """A run-time value that a text uses, and where."""

    reference: Reference
    line: int
    key: str


@dataclass(slots=True)
class Draft:
    """What was read of a task; ``keys`` None: its ``foreach`` is wrong."""

    name: str
    fields: Fields
    type: str | None
    keys: tuple[str, ...] | None
    rows: list[tuple[str, ...]]
    needs: list[WrittenNeed]
    may_fail: bool
    text: dict[str, Any] = field(default_factory=dict)
    common: dict[str, Any] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)


def read_task(fields: Fields, name: str, params: dict[str, str | None], folder: str, room: int) -> Draft:
    """The task ``name``; ``room`` is how many instances the file may still have. Mistakes are noted."""
    foreach = read_foreach(fields, Scope(params), folder, room)
    draft = Draft(
        name,
        fields,
        _type(fields),
        foreach.keys if foreach.is_right else None,
        foreach.rows,
        read_needs(fields),
        fields.checked("may_fail", _is_true, False),
    )
    texts = _Texts(draft, Scope(params, foreach.keys))
    for key, node in fields:
        if key in RESERVED:
            fields.wrong(key, "a reserved key", "", NOT_YET)
        elif key == "pack" and draft.keys == ():
            fields.wrong(key, "found without foreach", "a task with foreach, whose instances share jobs of a queue")
        elif key in common.KEYS:
            draft.common[key] = texts.plain(node, key, key)
        elif key not in OWN_KEYS:
            draft.text[key] = texts.plain(node, key, key)
    texts.check_command_values()
    return draft


def read_tasks(fields: Fields, params: dict[str, str | None], folder: str, most: int) -> dict[str, Draft]:
    """All tasks of the file, by name."""
    drafts: dict[str, Draft] = {}
    block = fields.mapping("tasks", "a mapping of tasks")
    if block is None:
        if "tasks" not in fields.node.items:
            fields.wrong("tasks", "is missing", "a mapping of tasks")
        return drafts
    if not block.node.items:
        fields.wrong("tasks", "found no task", "at least one task")
    for name, node in block:
        if not is_name(name):
            block.mistakes.add(block.line(name), f"tasks.{name[:60]}", "found this name", NAME_FORM)
        elif not isinstance(node, Mapping):
            block.wrong(name, f"found {described(node)}", "a mapping with type and the keys of that type")
        else:
            draft = read_task(Fields(node, block.key(name), block.mistakes), name, params, folder, most)
            most -= len(draft.rows) * max(1, len(draft.keys or ()))
            drafts[name] = draft
    return drafts


def _type(fields: Fields) -> str | None:
    node = fields.get("type")
    if node is None:
        fields.wrong("type", "is missing", "the type of the task, such as job, stage or environment")
        return None
    if not isinstance(node, Scalar) or not node.text:
        fields.wrong("type", f"found {described(node)}", "the type of the task, such as job, stage or environment")
        return None
    return node.text


def _is_true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


class _Texts:
    """Turns nodes of a task into plain values with params put in; keeps what is used in command texts."""

    def __init__(self, draft: Draft, scope: Scope) -> None:
        self.draft, self.scope = draft, scope
        self.mistakes: Mistakes = draft.fields.mistakes
        self.command_keys: dict[str, tuple[int, str]] = {}

    def plain(self, node: Node, key: str, path: str) -> Any:
        """The plain value of ``node``, which stands under ``key`` at the dotted ``path`` of the task."""
        if isinstance(node, Scalar):
            if not node.is_plain or key == "mode" or "${" in node.text:
                return self._text(node.text, node.line, path)
            try:
                return core_value(node.text)
            except ValueError as error:
                self.mistakes.add(node.line, self.draft.fields.key(path), f"found {quoted(node.text)}", str(error))
                return node.text
        if isinstance(node, Sequence):
            return [self.plain(item, key, f"{path}[{index}]") for index, item in enumerate(node.items)]
        values: dict[str, Any] = {}
        for name, item in node.items.items():
            written = f"{path}.{name}"
            text = self._text(name, node.lines[name], written) if "${" in name else name
            if text in values:
                found, expected = f"{quoted(text)} again, once its values are put in", "each key once"
                self.mistakes.add(node.lines[name], self.draft.fields.key(written), found, expected)
            values[text] = self.plain(item, name, written)
        return values

    def _text(self, text: str, line: int, path: str) -> str:
        if "${" not in text:
            return text
        key = self.draft.fields.key(path)
        try:
            encoded = encode(text, self.scope)
        except BadReference as error:
            for wrong in (error, *bad_references(text, self.scope)):
                self.mistakes.add(line, key, wrong.found, wrong.expected, wrong.hint)
            return text
        self.draft.uses.extend(Use(reference, line, key) for reference in encoded.references)
        if is_shell_text(path):
            for name in encoded.params:
                self._check_command_value(name, [self.scope.params[name] or ""], line, key)
            for name in encoded.keys:
                self.command_keys.setdefault(name, (line, key))
        return encoded.text

    def check_command_values(self) -> None:
        """Every value of a ``foreach`` key that a command text uses is harmless there."""
        for name, (line, key) in self.command_keys.items():
            if self.draft.keys is None:
                return
            column = self.draft.keys.index(name)
            self._check_command_value(name, {row[column] for row in self.draft.rows}, line, key)

    def _check_command_value(self, name: str, values: Collection[str], line: int, key: str) -> None:
        bad = sorted(value for value in values if not is_command_value(value))
        if bad:
            self.mistakes.add(line, key, f"${{{name}}} is {quoted(bad[0])}", COMMAND_VALUE_FORM, COMMAND_VALUE_HINT)


def is_shell_text(path: str) -> bool:
    """True for the dotted key of a text that a shell reads: ``command`` as a text, each of ``commands``."""
    return path == "command" or path == "commands" or path.startswith("commands[")
