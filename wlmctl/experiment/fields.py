"""Reading the keys of one mapping of the tree: each wrong one is a mistake with its line, and reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from wlmctl.experiment.mistakes import NOT_YET, Mistakes, quoted
from wlmctl.experiment.yamltree import Mapping, Node, Scalar, Sequence, to_plain
from wlmctl.suggest import did_you_mean


class Fields:
    """The keys of ``node``, which stands under the dotted key ``path`` (empty for the whole file)."""

    def __init__(self, node: Mapping, path: str, mistakes: Mistakes) -> None:
        self.node, self.path, self.mistakes = node, path, mistakes

    def key(self, name: str) -> str:
        """The dotted key of ``name``."""
        return f"{self.path}.{name}" if self.path else name

    def line(self, name: str) -> int:
        """The line of the key ``name``, or of the mapping when it is not there."""
        return self.node.lines.get(name, self.node.line)

    def get(self, name: str) -> Node | None:
        """The node under ``name``; one that is null counts as not there."""
        node = self.node.items.get(name)
        return None if isinstance(node, Scalar) and node.is_plain and to_plain(node) is None else node

    def wrong(self, name: str, found: str, expected: str, hint: str = "") -> None:
        """A mistake at ``name``."""
        self.mistakes.add(self.line(name), self.key(name), found, expected, hint)

    def check_names(self, known: Collection[str], reserved: Collection[str] = ()) -> None:
        """Every key is known; one of later work says so."""
        for name in self.node.items:
            if name in reserved:
                self.wrong(name, "a reserved key", "", NOT_YET)
            elif name not in known:
                self.wrong(name, "unknown key", f"one of {', '.join(known)}", did_you_mean(name[:60], known))

    def checked(self, name: str, check: Callable[[Any], Any], default: Any) -> Any:
        """The plain value under ``name`` through ``check``, which raises ``ValueError(expected)``."""
        node = self.get(name)
        if node is None:
            if name in self.node.items:
                self.wrong(name, "found nothing", "a value", "leave the key out")
            return default
        try:
            return check(to_plain(node))
        except ValueError as error:
            self.wrong(name, f"found {getattr(error, 'found', described(node))}", str(error))
            return default

    def mapping(self, name: str, expected: str) -> Fields | None:
        """The mapping under ``name``, None when there is none."""
        node = self.get(name)
        if node is None:
            if name in self.node.items:
                self.wrong(name, "found nothing", expected)
            return None
        if not isinstance(node, Mapping):
            self.wrong(name, f"found {described(node)}", expected)
            return None
        return Fields(node, self.key(name), self.mistakes)

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        return iter(self.node.items.items())


def described(node: Node) -> str:
    """What a node is, for a message."""
    if isinstance(node, Scalar):
        return quoted(node.text) if node.text or not node.is_plain else "nothing"
    return node.kind


def one_of(choices: Collection[str]) -> Callable[[Any], str]:
    """A check for one of a few words."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return value
        near = did_you_mean(value[:60], choices) if isinstance(value, str) else ""
        raise ValueError(f"one of {', '.join(choices)}" + (f" ({near})" if near else ""))

    return check


def line_of(node: Node, key: str) -> int | None:
    """The line of the dotted ``key`` below ``node`` (``files.run.sh.mode``, ``exclude[0]``), as far as it is there."""
    line: int | None = None
    while key:
        if isinstance(node, Mapping):
            names = [name for name in node.items if key == name or key.startswith((f"{name}.", f"{name}["))]
            if not names:
                return line
            name = max(names, key=len)
            line, node, key = node.lines[name], node.items[name], key[len(name) :].removeprefix(".")
        elif isinstance(node, Sequence):
            index, _, rest = key.removeprefix("[").partition("]" if key.startswith("[") else ".")
            if not index.isascii() or not index.isdigit() or int(index) >= len(node.items):
                return line
            node, key = node.items[int(index)], rest.removeprefix(".")
            line = node.line
        else:
            return line
    return line
