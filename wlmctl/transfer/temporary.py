"""The names under which an execution writes what is not whole yet."""

from __future__ import annotations

import hashlib
import os
import posixpath

#: The longest name that common file systems take, in bytes.
_NAME_BYTES = 255


def temporary_path(path: str, execution: str) -> str:
    """``.<name>.wlm-<execution>`` beside ``path``; a name that would be too long is replaced by a digest of it."""
    folder, name = posixpath.split(path)
    mark = execution if execution and all(c.isascii() and (c.isalnum() or c in "_-") for c in execution) else ""
    if not mark or len(mark) > 64:
        mark = hashlib.sha256(os.fsencode(execution)).hexdigest()[:26]
    temporary = f".{name}.wlm-{mark}"
    if len(os.fsencode(temporary)) > _NAME_BYTES:
        temporary = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.wlm-{mark}"
    return posixpath.join(folder, temporary)
