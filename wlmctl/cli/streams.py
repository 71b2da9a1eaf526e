"""The standard streams of a command: what cannot be written is an error of one line, never lost silently."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any


class ClosedPipe(Exception):
    """Nobody reads stdout any more: the command ends quietly. (A BrokenPipeError would be handled by libraries.)"""


class GuardedFile(io.FileIO):
    """A descriptor whose first failed write is ``Unusable``; later ones are dropped, so that it is told once."""

    closed_before = False
    failed = False

    def write(self, data: Any, /) -> int:
        """Write, or say why that is impossible."""
        if self.failed:
            return len(data)
        try:
            if self.closed_before:
                raise OSError(errno.EBADF, "it is closed")
            return super().write(data)
        except BrokenPipeError as error:
            self.failed = True
            raise ClosedPipe("stdout: nobody reads it any more") from error
        except OSError as error:
            from wlmctl.errors import Unusable

            self.failed = True
            raise Unusable(f"stdout: {error.strerror}") from error


class DroppingFile(io.FileIO):
    """A descriptor of which failed writes are dropped: who closed or filled stderr does not want to know."""

    def write(self, data: Any, /) -> int:
        """Write, or say nothing."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def guard() -> None:
    """Prepare the process's streams, before anything else opens a file."""
    _occupy_standard_descriptors()
    raw = GuardedFile(1, "w", closefd=False)
    raw.closed_before = sys.stdout is None
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=raw.isatty()
    )
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    told = io.BufferedWriter(DroppingFile(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(told, encoding=encoding, errors="backslashreplace", line_buffering=True)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115


def _occupy_standard_descriptors() -> None:
    """A file opened later must not get the number of a closed standard stream, and be written to as such."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)
