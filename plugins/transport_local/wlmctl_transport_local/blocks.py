"""Files that share their blocks, and the beginnings of files."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

#: ``FICLONE`` of Linux' ``linux/fs.h``: one file becomes another's copy-on-write twin.
_FICLONE = 0x40049409


def shares_blocks(source: int, destination: int) -> bool:
    """Make the empty file ``destination`` a twin of ``source``; False where the file system cannot."""
    try:
        fcntl.ioctl(destination, _FICLONE, source)
    except OSError:
        return False
    return True


def beginning(chunks: Iterator[bytes], size_bytes: int | None) -> Iterator[bytes]:
    """The first ``size_bytes`` bytes of ``chunks``, or all of them."""
    left_bytes = size_bytes
    for chunk in chunks:
        if left_bytes is None:
            yield chunk
            continue
        if not left_bytes:
            return
        yield chunk[:left_bytes]
        left_bytes -= min(left_bytes, len(chunk))
