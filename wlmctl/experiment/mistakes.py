"""The mistakes of one file, gathered so that all of them can be told at once."""

from __future__ import annotations

from wlmctl.errors import InvalidFile, Mistake
from wlmctl.text import in_quotes, shown

#: After so many mistakes the rest is left out: the file is not what it was taken for.
MOST_MISTAKES = 200

#: No part of a mistake is longer, in characters.
_LONGEST_PART = 300

#: The hint for every key that is reserved.
NOT_YET = "not yet: this is reserved for a later version"


class Mistakes:
    """Collects the mistakes of ``file``; ``raise_if_any`` tells them, in the order of their lines."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Mistake] = []
        self._seen: set[tuple[str, int | None, str, str]] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self, line: int | None, key: str, found: str, expected: str = "", hint: str = "", file: str | None = None
    ) -> None:
        """One more mistake; the same one twice counts once."""
        mistake = Mistake(
            file or self.file, line, _one_line(key), _one_line(found), _one_line(expected), _one_line(hint)
        )
        mark = (mistake.file, line, mistake.key, found)
        if mark in self._seen:
            return
        if len(self._found) >= MOST_MISTAKES:
            self._raise(
                [Mistake(self.file, None, "", f"has more than {MOST_MISTAKES} mistakes; here are the first", "")]
            )
        self._seen.add(mark)
        self._found.append(mistake)

    def raise_if_any(self) -> None:
        """``InvalidFile`` with all that was found."""
        if self._found:
            self._raise([])

    def _raise(self, more: list[Mistake]) -> None:
        ordered = sorted(self._found, key=lambda mistake: (mistake.file != self.file, mistake.line or 0))
        raise InvalidFile(ordered + more)


def _one_line(text: str) -> str:
    """A part of a mistake, which may come from a plugin or quote the file, so that it fits on a line."""
    text = text if len(text) <= _LONGEST_PART else f"{text[: _LONGEST_PART - 3]}..."
    return shown(text)


def quoted(value: object, most: int = 60) -> str:
    """A value from a file for a message: in quotes, one line, not longer than ``most``."""
    return in_quotes(str(value), most)
