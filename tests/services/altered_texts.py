"""Remote texts as tests alter them: a command at a numbered point, or other words for some."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import wlmctl.jobs.texts


class AlteredTexts:
    """Alters the texts that are sent from now on, until ``restore``."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._read = wlmctl.jobs.texts._text
        self._changes: list[tuple[str, Callable[[str], str]]] = []
        patch.setattr(wlmctl.jobs.texts, "_text", self._text)

    def at(self, name: str, point: int, command: str) -> None:
        """Run a shell command at that point of a text."""
        self.replace(name, rf"^( *)# point {point}:.*", rf"\1{command}")

    def replace(self, name: str, pattern: str, new: str) -> None:
        """Other words in a text, which must have what the pattern matches."""

        def change(text: str) -> str:
            text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
            assert count, f"{name}.sh has no {pattern!r}"
            return text

        self._changes.append((name, change))
        wlmctl.jobs.texts.program.cache_clear()

    def restore(self) -> None:
        """As they are."""
        self._changes.clear()
        wlmctl.jobs.texts.program.cache_clear()

    def _text(self, folder: Path, name: str) -> str:
        changes = [change for changed, change in self._changes if changed == name]
        if not changes:
            return self._read(folder, name)
        places = (folder, *wlmctl.jobs.texts._PLACES)
        text = next(path for place in places if (path := place / f"{name}.sh").exists()).read_text("utf-8")
        for change in changes:
            text = change(text)
        return re.sub(r"^\s*#.*\n|^\n", "", text, flags=re.MULTILINE)
