"""The bytes of this host's files: opened with care, written with their holes, flushed together."""

from __future__ import annotations

import os
import stat as modes
import time
from collections.abc import Iterable

from wlmctl.errors import Broken, Denied
from wlmctl.text import shown
from wlmctl.transport import CHUNK_BYTES, FileInfo
from wlmctl_transport_local.faults import told

#: A chunk of nothing but zeros becomes a hole, so that a sparse file stays one.
_ZEROS = bytes(CHUNK_BYTES)
#: Without O_NONBLOCK the opening of a FIFO would wait for its other end.
_OPEN = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FLUSH_THREADS = 16
#: A flush that takes less has not waited for a disk.
_QUICK_S = 0.0003


def open_file(path: str, flags: int) -> int:
    """A descriptor of a regular file; ``Denied`` for anything else."""
    descriptor = os.open(path, flags | _OPEN, 0o600)
    if not modes.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Denied(f"{shown(path)}: is not a regular file")
    return descriptor


def fill(descriptor: int, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
    """Write ``chunks`` into the empty file, then set size, mode and time; ``Broken`` if not as many as announced."""
    done_bytes = 0
    try:
        for chunk in chunks:
            if done_bytes + len(chunk) > info.size_bytes:
                raise Broken(f"{shown(path)}: more than the {info.size_bytes} bytes announced were given")
            done_bytes += write_or_skip(descriptor, chunk)
    finally:
        os.ftruncate(descriptor, done_bytes)  # a hole at the end counts, also for who goes on from here
    if done_bytes != info.size_bytes:
        raise Broken(f"{shown(path)}: {done_bytes} of the {info.size_bytes} bytes announced were given")
    os.fchmod(descriptor, info.mode & 0o7777)
    mtime_ns = round(info.mtime_s * 1e9)
    os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def write_or_skip(descriptor: int, chunk: bytes) -> int:
    """Write the chunk, or leave a hole for it, which the caller ends by ``ftruncate``; returns its length."""
    if len(chunk) == CHUNK_BYTES and chunk == _ZEROS:
        os.lseek(descriptor, CHUNK_BYTES, os.SEEK_CUR)
        return CHUNK_BYTES
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(chunk)


def flush(descriptors: list[int]) -> None:
    """Flush and close; where that takes time side by side: a journal takes many in one turn (4-18 x as fast)."""
    waiting = iter(descriptors)
    with told("the files just written"):
        for descriptor in waiting:  # one by one while it costs nothing, as on a RAM disk
            began_s = time.perf_counter()
            os.fsync(descriptor)
            if time.perf_counter() - began_s > _QUICK_S:
                _flush_together(list(waiting))
    while descriptors:
        os.close(descriptors.pop())


def _flush_together(descriptors: list[int]) -> None:
    from concurrent.futures import ThreadPoolExecutor  # 25 ms, which a call that writes no batch need not spend

    with ThreadPoolExecutor(min(_FLUSH_THREADS, len(descriptors) or 1)) as threads:
        for _ in threads.map(os.fsync, descriptors):
            pass
