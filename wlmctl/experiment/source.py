"""Where an experiment's text comes from: a regular file or standard input, read whole and bounded."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO, NoReturn

from wlmctl.errors import InvalidFile, Mistake

MAX_FILE_BYTES = 8 << 20
STDIN = "-"


def read_text(source: str, stdin: BinaryIO | None = None, cwd: Path | None = None) -> str:
    """The text of ``source``, a path or ``-``; ``InvalidFile`` when it cannot be had."""
    if source == STDIN:
        data = _from_stdin(stdin)
    else:
        data = read_regular_file(str((cwd or Path()) / source), source or "''", MAX_FILE_BYTES)
    return decode(data, source)


def folder_of(source: str, cwd: Path | None = None) -> str:
    """The absolute folder that relative paths of the experiment lie under."""
    base = os.path.abspath(cwd or Path())
    return base if source == STDIN else os.path.dirname(os.path.abspath(os.path.join(base, source)))


def read_regular_file(path: str, shown_as: str, limit_bytes: int) -> bytes:
    """The content of a regular file of at most ``limit_bytes``; ``InvalidFile`` with one mistake otherwise."""
    try:
        # Without O_NONBLOCK the open of a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        _fail(shown_as, _what_is_wrong(error), "a file that can be read")
    except ValueError:
        _fail(shown_as, "a NUL character in the name", "the path of a file")
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            _fail(shown_as, "is a folder", "a file")
        if not stat.S_ISREG(mode):
            _fail(shown_as, "is not a regular file", "a file", "standard input is -" if stat.S_ISFIFO(mode) else "")
        with open(descriptor, "rb", closefd=False) as stream:
            data = stream.read(limit_bytes + 1)
    except OSError as error:
        _fail(shown_as, _what_is_wrong(error), "a file that can be read")
    finally:
        os.close(descriptor)
    return _bounded(data, shown_as, limit_bytes)


def decode(data: bytes, shown_as: str) -> str:
    """UTF-8 bytes as text, without a byte order mark; ``InvalidFile`` with the line of a byte that is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFile([Mistake(shown_as, line, "", f"the byte 0x{data[error.start]:02x}", "UTF-8 text")]) from None


def _from_stdin(stdin: BinaryIO | None) -> bytes:
    stream = stdin or getattr(sys.stdin, "buffer", None)
    if stream is None:
        _fail(STDIN, "standard input is closed", "an experiment file")
    try:
        return _bounded(stream.read(MAX_FILE_BYTES + 1), STDIN, MAX_FILE_BYTES)
    except OSError as error:
        _fail(STDIN, _what_is_wrong(error), "an experiment file")


def _bounded(data: bytes, shown_as: str, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        _fail(shown_as, f"is larger than {limit_bytes >> 20} MiB", f"at most {limit_bytes >> 20} MiB")
    return data


def _what_is_wrong(error: OSError) -> str:
    known = {
        errno.ENOENT: "no such file",
        errno.EACCES: "no permission to read it",
        errno.EISDIR: "is a folder",
        errno.ENOTDIR: "a part of the path is not a folder",
        errno.ENXIO: "is not a regular file",
    }
    return known.get(error.errno or 0, (error.strerror or str(error)).lower())


def _fail(shown_as: str, found: str, expected: str, hint: str = "") -> NoReturn:
    raise InvalidFile([Mistake(shown_as, None, "", found, expected, hint)])
