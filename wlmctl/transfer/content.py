"""A file from memory: under a temporary name, then renamed; left alone where it is there already."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable
from contextlib import suppress

from wlmctl.errors import TaskFailed, TransportError
from wlmctl.transfer.leftovers import sweep_forerunners
from wlmctl.transfer.place import Place
from wlmctl.transfer.temporary import temporary_path
from wlmctl.transfer.verify import check_size, drawn
from wlmctl.transport import FileInfo, Transport


def put_content(
    place: Place,
    transport: Transport,
    path: str,
    content: bytes,
    mode: int | None,
    *,
    execution: str,
    check: Callable[[], None],
) -> None:
    """Make the file ``path`` with this content and mode, and its missing folders. At most a few MiB.

    A ``mode`` of None is 0644 for a file that is made, and whatever it has where the content is there already.
    """
    with place.told(path):
        there = transport.stat(path)
        wanted = FileInfo(path, "file", len(content), 0o644 if mode is None else mode, time.time())
        if (
            there is not None
            and (there.kind, there.size_bytes) == ("file", len(content))
            and mode in (None, there.mode)
        ):
            with drawn(transport, path) as chunks:
                if b"".join(chunks) == content:
                    return
        if there is not None and there.kind == "directory":
            raise TaskFailed(f"{place.shown(path)}: is a folder, where a file should go")
        transport.makedirs(posixpath.dirname(path))
        sweep_forerunners(transport, [posixpath.dirname(path)], execution)
        check()
        temporary = temporary_path(path, execution)
        try:
            transport.write(temporary, (content,) if content else (), wanted)
            check_size(place, transport, temporary, len(content))
            transport.rename(temporary, path)
        except BaseException:
            with suppress(TransportError):
                transport.remove(temporary)
            raise
