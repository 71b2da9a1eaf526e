"""``foreach``: the keys of a task and the rows of values, one row an instance."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from wlmctl.errors import InvalidFile
from wlmctl.experiment.csvfile import read_csv
from wlmctl.experiment.fields import Fields, described
from wlmctl.experiment.mistakes import quoted
from wlmctl.experiment.names import NAME_FORM, is_name, repeated_instance
from wlmctl.experiment.values import BadReference, Scope, encode
from wlmctl.experiment.yamltree import Mapping, Node, Scalar, Sequence

#: All instances of a file together, and all their values.
MOST_INSTANCES = 10**6

FORMS = "keys with a range 1..4 or a list, a list of rows, or {csv: FILE}"
_LIST = "a range such as 1..4, or a list of values"
_RANGE = re.compile(r"(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})", re.ASCII)

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Foreach:
    """The keys in file order, None where they cannot be told, and the rows; without ``is_right`` the rows are none."""

    keys: tuple[str, ...] | None
    rows: list[Row]
    is_right: bool = True


class _WrongForeachError(Exception):
    """What was wrong has been noted; ``keys`` are those that can be told all the same."""

    def __init__(self, keys: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.keys = keys


def read_foreach(fields: Fields, scope: Scope, folder: str, room: int) -> Foreach:
    """The ``foreach`` of a task, with at most ``room`` instances and values; mistakes are noted in ``fields``."""
    node = fields.get("foreach")
    if node is None:
        if "foreach" in fields.node.items:
            fields.wrong("foreach", "found nothing", FORMS)
            return Foreach(None, [()], is_right=False)
        return Foreach((), [()])
    try:
        return _Reader(fields, scope, folder, room).read(node)
    except _WrongForeachError as error:
        return Foreach(error.keys, [()], is_right=False)


class _Reader:
    def __init__(self, fields: Fields, scope: Scope, folder: str, room: int) -> None:
        self.fields, self.folder, self.room = fields, folder, room
        self.scope = Scope(scope.params, ())

    def read(self, node: Node) -> Foreach:
        if isinstance(node, Sequence):
            keys, rows = self._rows(node)
        elif isinstance(node, Mapping):
            keys, rows = self._csv(node) if self._is_csv(node) else self._product(node)
        else:
            self._fail(node.line, "", f"found {described(node)}", FORMS)
        for key in keys:
            self._check_key(key, node, keys)
        if (same := repeated_instance(rows)) is not None:
            shown = ",".join(rows[same[0]])
            self._fail(node.line, "", f"{quoted(shown)} twice", "each instance once", keys=keys)
        return Foreach(keys, rows)

    def _product(self, node: Mapping) -> tuple[tuple[str, ...], list[Row]]:
        keys = tuple(node.items)
        if not keys:
            self._fail(node.line, "", "found an empty mapping", FORMS)
        columns: list[Callable[[], list[str]]] = []
        total = 1
        for key, values in node.items.items():
            count, column = self._column(key, node.lines[key], values, keys)
            total *= count
            columns.append(column)
        self._check_room(total, len(keys), node.line, keys)
        return keys, list(itertools.product(*[column() for column in columns]))

    def _column(self, key: str, line: int, node: Node, keys: tuple[str, ...]) -> tuple[int, Callable[[], list[str]]]:
        """How many values the key has, and how to get them: a range is not written out before it is known to fit."""
        if isinstance(node, Sequence):
            if not node.items:
                self._fail(line, key, "found an empty list", "at least one value", keys=keys)
            return len(node.items), lambda: [self._characters(key, item, keys) for item in node.items]
        text = self._characters(key, node, keys) if isinstance(node, Scalar) else ""
        ends = _RANGE.fullmatch(text)
        if ends is None:
            hint = "write {csv: FILE} for the rows of a file" if key == "csv" else ""
            self._fail(line, key, f"found {described(node)}", _LIST, hint, keys=keys)
        first, last = int(ends[1]), int(ends[2])
        if first > last or (str(first), str(last)) != ends.groups():
            self._fail(
                line, key, f"found {quoted(text)}", "whole numbers from the lower to the higher, as in 1..4", keys=keys
            )
        return last - first + 1, lambda: list(map(str, range(first, last + 1)))

    def _rows(self, node: Sequence) -> tuple[tuple[str, ...], list[Row]]:
        if not node.items:
            self._fail(node.line, "", "found an empty list", "at least one row, as in [{t: 300, p: 1}]")
        first = node.items[0]
        keys = tuple(first.items) if isinstance(first, Mapping) else ()
        self._check_room(len(node.items), max(1, len(keys)), node.line, keys)
        rows: list[Row] = []
        for index, item in enumerate(node.items):
            if not isinstance(item, Mapping) or not item.items:
                self._fail(
                    item.line, f"[{index}]", f"found {described(item)}", "a row, as in {t: 300, p: 1}", keys=keys
                )
            if item.items.keys() != set(keys):
                found = f"a row with {', '.join(item.items)}"
                self._fail(item.line, f"[{index}]", found, f"{', '.join(keys)}, as in the first row", keys=keys)
            rows.append(tuple([self._characters(key, item.items[key], keys) for key in keys]))
        return keys, rows

    def _is_csv(self, node: Mapping) -> bool:
        value = node.items.get("csv")
        return len(node.items) == 1 and isinstance(value, Scalar) and not _RANGE.fullmatch(value.text)

    def _csv(self, node: Mapping) -> tuple[tuple[str, ...], list[Row]]:
        name = self._characters("csv", node.items["csv"], None)
        try:
            keys, rows = read_csv(os.path.join(self.folder, name), name, MOST_INSTANCES)
        except InvalidFile as error:
            for mistake in error.mistakes:
                where = f"{mistake.file}" + (f":{mistake.line}" if mistake.line else "")
                found = f"{where}: {mistake.found}"
                self.fields.mistakes.add(
                    node.lines["csv"], f"{self.fields.key('foreach')}.csv", found, mistake.expected, mistake.hint
                )
            raise _WrongForeachError from None
        self._check_room(len(rows), len(keys), node.line, keys)
        return keys, rows

    def _characters(self, key: str, node: Node, keys: tuple[str, ...] | None) -> str:
        """A value as the characters in the file, with params put in."""
        if not isinstance(node, Scalar):
            self._fail(node.line, key, f"found {node.kind}", "a single value", keys=keys)
        if "${" not in node.text:
            return node.text
        try:
            encoded = encode(node.text, self.scope)
        except BadReference as error:
            self._fail(node.line, key, error.found, "a param", error.hint, keys=keys)
        if encoded.references:
            self._fail(node.line, key, f"${{{encoded.references[0]}}}", "what is known before run time", keys=keys)
        return encoded.text

    def _check_key(self, key: str, node: Node, keys: tuple[str, ...]) -> None:
        if not is_name(key):
            self._fail(node.line, "", f"the key {quoted(key)}", NAME_FORM, keys=keys)
        if key in self.scope.params:
            self._fail(node.line, key, "is also a param", "another name for one of the two", keys=keys)

    def _check_room(self, instances: int, width: int, line: int, keys: tuple[str, ...] | None) -> None:
        if instances * width > self.room:
            found = f"{instances:,} instances" + (f" with {width} values each" if width > 1 else "")
            self._fail(line, "", found, f"at most {MOST_INSTANCES:,} instances and values in a file", keys=keys)

    def _fail(
        self, line: int, key: str, found: str, expected: str, hint: str = "", keys: tuple[str, ...] | None = None
    ) -> NoReturn:
        path = self.fields.key("foreach") + (key if key.startswith("[") or not key else f".{key}")
        self.fields.mistakes.add(line, path, found, expected, hint)
        raise _WrongForeachError(keys)
