"""A YAML or JSON text as a tree of nodes that know their lines: bounded, and without YAML 1.1's surprises.

The tree is made from the parser's events in one loop, since a recursive composer crashes on deep input,
keeps the last of two equal keys, and forgets how a scalar was written.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

from wlmctl.errors import InvalidFile, Mistake
from wlmctl.experiment.mistakes import quoted
from wlmctl.experiment.scalars import core_value
from wlmctl.experiment.yamltext import checked_text, explain_syntax_error

MAX_DEPTH = 100
MAX_VALUES = 10**6


class Scalar:
    """A text as it stands in the file; ``is_plain`` without quotes, so that it may mean a number, true or null."""

    __slots__ = ("is_plain", "line", "text")
    kind = "a value"

    def __init__(self, text: str, is_plain: bool, line: int) -> None:
        self.text, self.is_plain, self.line = text, is_plain, line


class Sequence:
    """A list of nodes."""

    __slots__ = ("items", "line")
    kind = "a list"

    def __init__(self, line: int) -> None:
        self.items: list[Node] = []
        self.line = line


class Mapping:
    """Keys (their texts) with their nodes, in file order, and the lines of the keys."""

    __slots__ = ("items", "line", "lines")
    kind = "a mapping"

    def __init__(self, line: int) -> None:
        self.items: dict[str, Node] = {}
        self.lines: dict[str, int] = {}
        self.line = line


Node: TypeAlias = Scalar | Sequence | Mapping


def parse(text: str, file: str) -> Node | None:
    """The tree of ``text``, None when it holds nothing; ``InvalidFile`` with the first thing that is wrong."""
    text = checked_text(text, file)
    with without_collections():
        return _Builder(file, text).build()


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection: a tree has no cycles, and collections while it grows cost three times its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def to_plain(node: Node, key: str = "") -> Any:
    """The node as plain values by the core schema; under the key ``mode`` a scalar stays its characters."""
    if isinstance(node, Scalar):
        if not node.is_plain or key == "mode":
            return node.text
        try:
            return core_value(node.text)
        except ValueError:
            return node.text
    if isinstance(node, Sequence):
        return [to_plain(item, key) for item in node.items]
    return {name: to_plain(item, name) for name, item in node.items.items()}


class _Builder:
    """Makes the tree: ``open`` holds the collections that have not ended, with the key that waits for its value."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.root: Node | None = None
        self.open: list[Sequence | Mapping] = []
        self.keys: list[str | None] = []
        self.heights: list[int] = []
        self.names: list[tuple[str, int] | None] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        self.count = 0

    def build(self) -> Node | None:
        """Read all events."""
        import yaml

        next_event = _event_source(self.text)
        documents = 0
        try:
            while (event := next_event()) is not None:
                kind = type(event)
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                    self._start(event, Mapping if kind is yaml.MappingStartEvent else Sequence)
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self._end()
                elif kind is yaml.AliasEvent:
                    self._alias(event)
                elif kind is yaml.DocumentStartEvent:
                    documents += 1
                    if documents > 1:
                        self._fail(_line(event), "a second document", "one document", "leave out the line '---'")
        except yaml.YAMLError as error:
            if "nesting depth" in str(error):  # libyaml has a limit of its own, which it meets while it looks ahead
                mark = getattr(error, "problem_mark", None)
                self._too_deep(1 if mark is None else mark.line + 1)
            raise InvalidFile([explain_syntax_error(error, self.text, self.file)]) from None
        return self.root

    def _scalar(self, event: Any) -> None:
        text, line = event.value, event.start_mark.line + 1
        if event.tag is not None:
            self._refuse_tag(event)
        is_plain = not event.style
        if not is_plain and "\0" in text:
            self._fail(line, "a NUL character", "text without NUL characters")
        if self.open and type(self.open[-1]) is Mapping and self.keys[-1] is None:
            self._key(text, line, event.anchor)
            return
        self._counted(1, line)
        node = Scalar(text, is_plain, line)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, 1, 0)
        self._put(node)

    def _key(self, text: str, line: int, anchor: str | None) -> None:
        mapping = self.open[-1]
        assert type(mapping) is Mapping
        if text in mapping.items:
            first = mapping.lines[text]
            self._fail(line, f"the key {quoted(text)} again", "each key once", f"it is on line {first} already")
        mapping.lines[text] = line
        self.keys[-1] = text
        if anchor is not None:
            self.anchors[anchor] = (Scalar(text, True, line), 1, 0)

    def _start(self, event: Any, kind: type[Mapping] | type[Sequence]) -> None:
        line = _line(event)
        if event.tag is not None:
            self._refuse_tag(event)
        self._refuse_as_key(line)
        if len(self.open) >= MAX_DEPTH:
            self._too_deep(line)
        self._counted(1, line)
        node = kind(line)
        self.names.append(None if event.anchor is None else (event.anchor, self.count - 1))
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.open.append(node)
        self.keys.append(None)
        self.heights.append(0)

    def _end(self) -> None:
        node, height, name = self.open.pop(), self.heights.pop() + 1, self.names.pop()
        self.keys.pop()
        if name is not None:
            self.anchors[name[0]] = (node, self.count - name[1], height)
        self._put(node)
        if self.heights:
            self.heights[-1] = max(self.heights[-1], height)

    def _alias(self, event: Any) -> None:
        line = _line(event)
        self._refuse_as_key(line)
        if event.anchor not in self.anchors:
            self._fail(line, f"the alias *{event.anchor}", f"the anchor &{event.anchor} before it")
        target = self.anchors[event.anchor]
        if target is None:
            self._fail(line, f"the alias *{event.anchor} inside its own anchor", "an alias to what has ended before it")
        node, size, height = target
        self._counted(size, line)
        if len(self.open) + height > MAX_DEPTH:
            self._too_deep(line)
        if self.heights:
            self.heights[-1] = max(self.heights[-1], height)
        self._put(node)

    def _put(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if type(parent) is Sequence:
            parent.items.append(node)
        else:
            assert type(parent) is Mapping
            key = self.keys[-1]
            assert key is not None
            parent.items[key] = node
            self.keys[-1] = None

    def _counted(self, size: int, line: int) -> None:
        self.count += size
        if self.count > MAX_VALUES:
            self._fail(line, f"more than {MAX_VALUES:,} values, aliases written out", f"at most {MAX_VALUES:,}")

    def _refuse_as_key(self, line: int) -> None:
        if self.open and type(self.open[-1]) is Mapping and self.keys[-1] is None:
            self._fail(line, "a list, mapping or alias as a key", "a plain name as the key")

    def _refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self._fail(_line(event), f"the tag {quoted(tag)}", "a value without a tag", "leave the tag out")

    def _too_deep(self, line: int) -> NoReturn:
        self._fail(line, f"more than {MAX_DEPTH} lists and mappings inside one another", f"at most {MAX_DEPTH}")

    def _fail(self, line: int, found: str, expected: str, hint: str = "") -> NoReturn:
        raise InvalidFile([Mistake(self.file, line, "", found, expected, hint)])


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _event_source(text: str) -> Any:
    """A function that gives the next event, None at the end; libyaml's parser where PyYAML was built with it."""
    try:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]
    except ImportError:
        import yaml

        return yaml.SafeLoader(text).get_event
    return CParser(text).get_event
