"""Decisions of a live run as lines of a file: what a scheduler was shown and what it answered, to be replayed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from wlmctl.errors import ConfigError, InvalidFile, Mistake
from wlmctl.role_classes import decide
from wlmctl.scheduler import Decision, Scheduler, Snapshot
from wlmctl.text import shown

log = logging.getLogger(__name__)

VERSION = 1

#: The end of a line whose writer was ended in the middle, so that the next decision has a line of its own.
_TORN = b" torn\n"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision: of which scheduler, with which options, on what."""

    scheduler: str
    snapshot: Snapshot
    decision: Decision
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION


class Recorder:
    """Appends decisions to a file. One that cannot be written any more is told once, and decisions go on without it."""

    def __init__(self, path: Path) -> None:
        self._path, self._is_broken = path, False
        try:
            _end_torn_line(path)
        except OSError as error:
            raise ConfigError(f"record_decisions: {shown(str(path))}: {error.strerror or error}") from error
        self._encoder = msgspec.json.Encoder(enc_hook=list)  # ids of tasks are made when they are asked for

    def of(self, name: str, options: Mapping[str, Any], scheduler: Scheduler) -> Scheduler:
        """The scheduler, with each of its decisions recorded."""
        return _Recording(self, name, options, scheduler)

    def note(self, recorded: Recorded) -> None:
        """One more decision."""
        if self._is_broken:
            return
        try:
            line = self._encoder.encode(recorded) + b"\n"
            with self._path.open("ab") as file:
                file.write(line)
        except (OSError, TypeError, ValueError) as error:
            self._is_broken = True
            log.warning("%s: decisions are recorded no longer: %s", shown(str(self._path)), error)


class _Recording:
    """A scheduler whose decisions are recorded."""

    by_class = True

    def __init__(self, recorder: Recorder, name: str, options: Mapping[str, Any], scheduler: Scheduler) -> None:
        self._recorder, self._name, self._options, self._scheduler = recorder, name, options, scheduler

    def assign(self, snapshot: Snapshot) -> Decision:
        """The scheduler's decision."""
        decision = decide(self._scheduler, snapshot)
        self._recorder.note(Recorded(self._name, snapshot, decision, self._options))
        return decision


def _end_torn_line(path: Path) -> None:
    """Make the file, or end its last line where it has no end."""
    with path.open("ab") as file:
        if path.is_file() and file.tell():
            with path.open("rb") as there:
                there.seek(-1, os.SEEK_END)
                if there.read() != b"\n":
                    file.write(_TORN)


def read(path: Path) -> Iterator[tuple[int, Recorded]]:
    """The decisions of a file, each with its line; ``InvalidFile`` for what is none. Torn lines are left out."""
    decoder = msgspec.json.Decoder(Recorded)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(_TORN):
                    continue
                try:
                    yield number, decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    if not line.endswith(b"\n"):
                        return  # whoever wrote it was ended in the middle
                    raise InvalidFile(
                        [Mistake(shown(str(path)), number, "", str(error), "a decision as record_decisions writes it")]
                    ) from error
    except OSError as error:
        raise InvalidFile([Mistake(shown(str(path)), None, "", error.strerror or str(error), "")]) from error
