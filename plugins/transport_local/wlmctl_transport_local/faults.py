"""Errors of the operating system as the five errors of the transport contract."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from wlmctl.errors import Broken, Denied, NoSpace, NotFound, TransportError
from wlmctl.text import shown

_NOT_FOUND = {errno.ENOENT}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,  # a FIFO that nobody reads, opened without blocking
    errno.EINVAL,  # a folder moved into itself
    errno.EXDEV,
    errno.ETXTBSY,
    errno.EBUSY,
}


def translated(error: OSError, path: str) -> TransportError:
    """The transport error that ``error`` stands for, with the path in its message."""
    message = f"{shown(path)}: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in _NOT_FOUND:
        return NotFound(message)
    if error.errno in _NO_SPACE:
        return NoSpace(message)
    if error.errno in _DENIED:
        return Denied(message)
    return Broken(message)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn an ``OSError`` of the body into a transport error about ``path``."""
    try:
        yield
    except OSError as error:
        raise translated(error, path) from error
    except ValueError as error:
        if "\0" not in path:
            raise
        raise NotFound(f"{shown(path)}: {error}") from error
