"""``${...}`` in the strings of a task: its grammar, and how what is not known yet stands in a checked text.

Params are put in when the file is read. A ``foreach`` key and a run-time value then stand as their name between two
reserved characters, so that nothing that came from a value is ever taken for a reference again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from wlmctl.errors import SpecError
from wlmctl.experiment.mistakes import quoted
from wlmctl.experiment.names import NAME_PATTERN
from wlmctl.spec import PLACEHOLDER_BEGIN, PLACEHOLDER_END
from wlmctl.suggest import did_you_mean

Kind = Literal["folder", "output"]

_TOKEN = re.compile(r"\$\$\{|\$\{((?:[^{}]|\$\{[^{}]*\})*)\}|\$\{")
_NAME = re.compile(NAME_PATTERN)
_OUTPUT = "[A-Za-z0-9_][A-Za-z0-9_-]{0,39}"
_RUNTIME = re.compile(
    rf"tasks\.({NAME_PATTERN})(?:\[([^\[\]]+)\])?\.(?:folder|outputs\.({_OUTPUT}))"
)  # fmt: skip
_KEYS = re.compile(rf"\$\{{({NAME_PATTERN})\}}(?:,\$\{{({NAME_PATTERN})\}})*")
_MARK = re.compile(f"{PLACEHOLDER_BEGIN}([^{PLACEHOLDER_END}]*){PLACEHOLDER_END}")
_COMMAND_VALUE = re.compile(r"[A-Za-z0-9_./:=+,@%-]*")
_UNUSABLE = re.compile(f"[\0{PLACEHOLDER_BEGIN}{PLACEHOLDER_END}\ud800-\udfff]")

#: Stands for the label of the instance itself in a reference to its partner: ``tasks.simulate[*].outputs.energy``.
PARTNER = "*"

FOR_THE_SHELL = "write $${...} for the shell's own"
COMMAND_VALUE_FORM = "only A-Za-z0-9_./:=+,@%- in a value inside a command text"
COMMAND_VALUE_HINT = "write the command as a list, or hand the value over in env"


class BadReference(ValueError):
    """A ``${...}`` that means nothing here: what was found, what was expected, what to do."""

    def __init__(self, found: str, expected: str, hint: str = "") -> None:
        super().__init__(found)
        self.found, self.expected, self.hint = found, expected, hint


@dataclass(frozen=True, slots=True)
class Reference:
    """A run-time value: the folder of a task, or one of its outputs; ``label`` names an instance or ``PARTNER``."""

    task: str
    label: str | None
    kind: Kind
    key: str = ""

    def __str__(self) -> str:
        label = "" if self.label is None else f"[{self.label}]"
        return f"tasks.{self.task}{label}." + ("folder" if self.kind == "folder" else f"outputs.{self.key}")


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that ``${...}`` may use; ``keys`` None: the ``foreach`` is wrong, so no name is called unknown."""

    params: Mapping[str, str | None]
    keys: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text with its params put in and marks for the rest, and what was used in it."""

    text: str
    params: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


def encode(text: str, scope: Scope) -> Encoded:
    """Put the params in, once, and mark the rest; ``BadReference`` for any other ``${...}``."""
    if "${" not in text:
        return Encoded(text)
    parts: list[str] = []
    params: list[str] = []
    keys: list[str] = []
    references: list[Reference] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        name = match[1]
        if match[0] == "$${":
            parts.append("${")
        elif name is None:
            raise BadReference(f"{quoted(text[match.start() :], 30)} without its end", "${NAME}", FOR_THE_SHELL)
        elif name in scope.params:
            params.append(name)
            parts.append(scope.params[name] or "")
        elif scope.keys is not None and name in scope.keys:
            keys.append(name)
            parts.append(mark(name))
        elif runtime := _RUNTIME.fullmatch(name):
            reference = Reference(
                runtime[1], _label(name, runtime[2], scope.keys), "output" if runtime[3] else "folder", runtime[3] or ""
            )
            references.append(reference)
            parts.append(mark(str(reference)))
        elif scope.keys is None and _NAME.fullmatch(name):
            parts.append(mark(name))
        else:
            raise _unknown(name, scope)
    parts.append(text[end:])
    return Encoded("".join(parts), tuple(params), tuple(keys), tuple(references))


def bad_references(text: str, scope: Scope) -> Iterator[BadReference]:
    """Every ``${...}`` of the text that ``encode`` refuses."""
    for match in _TOKEN.finditer(text):
        if match[1] is None:
            continue  # ``$${``, or one without its end, which ends the text: ``encode`` told it, or what is before it
        try:
            encode(match[0], scope)
        except BadReference as error:
            yield error


def mark(name: str) -> str:
    """How the value called ``name`` stands in a text as long as it is not known."""
    return f"{PLACEHOLDER_BEGIN}{name}{PLACEHOLDER_END}"


def split_marks(text: str) -> list[str]:
    """The text cut at its marks: literal, name, literal, name, ..., literal."""
    return _MARK.split(text)


def parse_reference(name: str) -> Reference | None:
    """The run-time value of that name, None when it is a ``foreach`` key."""
    match = _RUNTIME.fullmatch(name)
    return Reference(match[1], match[2], "output" if match[3] else "folder", match[3] or "") if match else None


def is_command_value(value: str) -> bool:
    """True for a value that a shell takes as it is, wherever it stands in a command text."""
    return _COMMAND_VALUE.fullmatch(value) is not None


def check_command_value(value: str, name: str = "") -> None:
    """``SpecError`` for a value that may not be put into a ``command`` text; ``name`` is what it is called."""
    if not is_command_value(value):
        called = f"${{{name}}} is " if name else ""
        raise SpecError("command", f"{called}{quoted(value)}", COMMAND_VALUE_FORM, COMMAND_VALUE_HINT)


def why_unusable(value: str) -> str | None:
    """What a value that came from outside the file (an option, a CSV file) may not hold, or None."""
    bad = _UNUSABLE.search(value)
    if bad is None:
        return None
    return {
        "\0": "a NUL character",
        PLACEHOLDER_BEGIN: "the character U+E000",
        PLACEHOLDER_END: "the character U+E001",
    }.get(bad[0], "a byte that is not UTF-8")


def key_label(label: str) -> tuple[str, ...] | None:
    """The keys of a label such as ``${t},${p}``, None when it is the label of one instance."""
    return tuple(part[2:-1] for part in label.split(",")) if _KEYS.fullmatch(label) else None


def _label(name: str, label: str | None, keys: tuple[str, ...] | None) -> str | None:
    if label is None:
        return None
    used = key_label(label)
    if used is None:
        if "$" in label or label == PARTNER:
            raise BadReference(f"${{{name}}}", "the foreach keys or the values of one instance in the brackets")
        return label
    if keys is not None and used != keys:
        expected = ",".join(f"${{{key}}}" for key in keys)
        raise BadReference(
            f"[{label}] in ${{{name}}}",
            f"[{expected}], this task's own foreach keys in their order" if keys else "a foreach on this task too",
        )
    return PARTNER


def _unknown(name: str, scope: Scope) -> BadReference:
    known: Collection[str] = [*scope.params, *(scope.keys or ())]
    near = did_you_mean(name[:60], known)
    expected = "a param, a foreach key, tasks.NAME.folder or tasks.NAME.outputs.KEY"
    return BadReference(f"${{{quoted(name)[1:-1]}}}", expected, f"{near} or {FOR_THE_SHELL}" if near else FOR_THE_SHELL)
