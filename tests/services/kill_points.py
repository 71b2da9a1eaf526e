"""Killing the shell that runs a text at one of the points that the text numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wlmctl.jobs.texts

TEXTS = {
    "submit": Path(wlmctl.jobs.texts.__file__).parent / "queue/submit.sh",
    "pack": Path(wlmctl.jobs.texts.__file__).parent / "queue/pack.sh",
    "cancel": Path(wlmctl.jobs.texts.__file__).parent / "queue/cancel.sh",
    "wrapper": Path(wlmctl.jobs.texts.__file__).parent / "wrapper.sh",
}


def points(name: str) -> list[int]:
    """The numbers of the kill points in a text."""
    found = sorted(int(number) for number in re.findall(r"^ *# point (\d+):", TEXTS[name].read_text(), re.MULTILINE))
    assert found == list(range(1, len(found) + 1))
    return found


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int | None], None]]:
    """Makes the shell that runs a text kill itself at a point, until it is asked for none."""
    read = wlmctl.jobs.texts._text

    def arm(name: str, point: int | None) -> None:
        def armed(folder: Path, found: str) -> str:
            if found != name or point is None:
                return read(folder, found)
            text = TEXTS[name].read_text()
            text = re.sub(rf"^( *)# point {point}:.*", r"\1kill -KILL $$", text, flags=re.MULTILINE)
            return re.sub(r"^\s*#.*\n|^\n", "", text, flags=re.MULTILINE)

        monkeypatch.setattr(wlmctl.jobs.texts, "_text", armed)
        wlmctl.jobs.texts.program.cache_clear()

    yield arm
    monkeypatch.undo()
    wlmctl.jobs.texts.program.cache_clear()
