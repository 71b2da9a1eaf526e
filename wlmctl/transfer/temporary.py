"""The names under which an execution writes what is not whole yet."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections import deque

_EXECUTION = re.compile(r"([0-9a-f]+)-([0-9]+)-[0-9a-f]+")
_MARKED = re.compile(r"\..*\.wlm-([A-Za-z0-9_-]+)", re.DOTALL)

#: The longest name that common file systems take, in bytes.
_NAME_BYTES = 255


def execution_name(attempt: str, dispatch: int) -> str:
    """A name for one execution: ``attempt`` (hex digits) is its attempt's, ``dispatch`` counts up within it."""
    return f"{attempt}-{dispatch}-{_word()}"


def _word() -> str:
    """Six random hex digits. The kernel is asked for many at once: each question lets other threads go first."""
    while True:
        try:
            return _words.popleft()  # safe over threads
        except IndexError:
            text = os.urandom(3 * 256).hex()
            _words.extend(text[start : start + 6] for start in range(0, len(text), 6))


_words: deque[str] = deque()
os.register_at_fork(after_in_child=_words.clear)


def is_forerunner(name: str, execution: str) -> bool:
    """True for the temporary file of an earlier dispatch of the same attempt: whatever it does is ignored by now."""
    marked, own = _MARKED.fullmatch(name), _EXECUTION.fullmatch(execution)
    other = _EXECUTION.fullmatch(marked[1]) if marked else None
    return bool(other and own and other[1] == own[1] and int(other[2]) < int(own[2]))


def has_forerunners(execution: str) -> bool:
    """True when there may have been an earlier dispatch of the same attempt."""
    own = _EXECUTION.fullmatch(execution)
    return own is not None and int(own[2]) > 1


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
