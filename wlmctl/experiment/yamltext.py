"""What is looked at in a YAML text before it is parsed, and what a parser's complaint means."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from wlmctl.errors import InvalidFile, Mistake
from wlmctl.spec import PLACEHOLDER_BEGIN, PLACEHOLDER_END
from wlmctl.text import shown

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_RESERVED = re.compile(f"[{PLACEHOLDER_BEGIN}{PLACEHOLDER_END}]|\\\\u[eE]00[01]|\\\\U0000[eE]00[01]")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")

#: YAML's own limit for a key that is not written after a question mark.
_LONGEST_KEY = 1024

_EXPLAINED = (
    (
        "found character that cannot start any token",
        "a character that no value can begin with",
        "quotes around the value",
    ),
    ("mapping values are not allowed", "a ': ' where no key can be", "one key a line, or quotes around the value"),
    ("did not find expected ',' or ']'", "a list that does not end", "',' between items and ']' at the end"),
    ("did not find expected ',' or '}'", "a mapping that does not end", "',' between items and '}' at the end"),
    ("did not find expected node content", "the end of the file or a stray mark inside brackets", "a value"),
    ("did not find expected key", "a line whose indentation fits no key above it", "the same indentation for all keys"),
    (
        "did not find expected '-' indicator",
        "a line whose indentation fits no item",
        "'- ' before each item of the list",
    ),
    ("found unknown escape character", "an unknown escape in double quotes", r"\\ for one backslash, or single quotes"),
    ("found unexpected end of stream", "quotes that do not end", "the closing quote"),
    ("could not find expected ':'", "a line that is neither a key nor a value", "'key: value'"),
)


def checked_text(text: str, file: str) -> str:
    """The text to parse; ``InvalidFile`` for characters that no YAML text may hold, or that are reserved."""
    if bad := _CONTROL.search(text):
        _fail(text, file, bad, f"the control character {shown(bad[0])}", "text without control characters")
    if bad := _RESERVED.search(text):
        _fail(text, file, bad, "the character U+E000 or U+E001, which wlmctl uses itself", "another character")
    # JSON writes characters beyond U+FFFF as two escapes, which YAML does not know.
    if text.lstrip()[:1] in ("{", "["):
        text = _SURROGATES.sub(_joined, text)
    return text


def explain_syntax_error(error: Any, text: str, file: str) -> Mistake:
    """A parser's complaint as a mistake: the line, what is there, what would be right."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = None if mark is None else mark.line + 1
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    lines = text.splitlines()
    written = lines[line - 1] if line is not None and line <= len(lines) else ""
    if len(written) > _LONGEST_KEY and ("mapping values" in problem or "expected" in problem):
        return Mistake(file, line, "", f"a key longer than {_LONGEST_KEY:,} characters", "a shorter key")
    if written.startswith("\t") or (written.strip() and "\t" in written[: len(written) - len(written.lstrip())]):
        return Mistake(file, line, "", "a tab in the indentation", "spaces")
    for beginning, found, expected in _EXPLAINED:
        if beginning in problem:
            return Mistake(file, line, "", found, expected)
    return Mistake(file, line, "", f"is no YAML: {problem}", "")


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _fail(text: str, file: str, match: re.Match[str], found: str, expected: str) -> NoReturn:
    raise InvalidFile([Mistake(file, text.count("\n", 0, match.start()) + 1, "", found, expected)])
