"""The names under which an execution writes what is not whole yet."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections import deque
from collections.abc import Iterable

_TASK = re.compile(r"([0-9a-f]{12})-([0-9]+)-[0-9a-f]+")
_COMMAND = re.compile(r"copy-([0-9a-f]{12})-([0-9]+)-([0-9a-f]{8})")
_MARKED = re.compile(r"\..*\.wlm-([A-Za-z0-9_-]+)", re.DOTALL)

#: The longest name that common file systems take, in bytes.
NAME_BYTES = 255
#: The longest that encrypted ones (eCryptfs) take.
_SHORTEST_LIMIT_BYTES = 143


def execution_name(task: str, dispatch: int) -> str:
    """A name for one execution of ``task``, which is its experiment's and its own; ``dispatch`` counts up within it."""
    return f"{_key(task)}-{dispatch}-{_word()}"


def command_name(endpoints: Iterable[str]) -> str:
    """A name for this process's execution of a copy between ``endpoints``, absolute: a later one finds its leavings."""
    from wlmctl.host import host_id

    # pids of different name spaces cannot be compared: whoever runs in another one is a stranger
    return f"copy-{_key(host_id(), _pid_space(), str(os.getuid()), *endpoints)}-{os.getpid()}-{_life(os.getpid())}"


def is_forerunner(name: str, execution: str) -> bool:
    """True for the temporary file of an earlier execution of the same work that is over, whatever it may still do.

    That is an earlier dispatch of the same task, or the same command in a process that is gone.
    """
    marked = _MARKED.fullmatch(name)
    if marked is None:
        return False
    if (own := _TASK.fullmatch(execution)) and (other := _TASK.fullmatch(marked[1])):
        return other[1] == own[1] and int(other[2]) < int(own[2])
    if (own := _COMMAND.fullmatch(execution)) and (other := _COMMAND.fullmatch(marked[1])):
        return other[1] == own[1] and _life(int(other[2])) != other[3]
    return False


def has_forerunners(execution: str) -> bool:
    """True when there may have been an earlier execution of the same work."""
    own = _TASK.fullmatch(execution)
    return int(own[2]) > 1 if own else _COMMAND.fullmatch(execution) is not None


def temporary_path(path: str, execution: str) -> str:
    """``.<name>.wlm-<execution>`` beside ``path``; a name that would be too long is replaced by a digest of it."""
    folder, name = posixpath.split(path)
    mark = execution if execution and all(c.isascii() and (c.isalnum() or c in "_-") for c in execution) else ""
    if not mark or len(mark) > 64:
        mark = hashlib.sha256(os.fsencode(execution)).hexdigest()[:26]
    temporary = f".{name}.wlm-{mark}"
    if len(os.fsencode(temporary)) > _SHORTEST_LIMIT_BYTES:
        temporary = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.wlm-{mark}"
    return posixpath.join(folder, temporary)


def mark_of(name: str) -> str:
    """The execution in a temporary name."""
    return name.rpartition(".wlm-")[2]


def _key(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _life(pid: int) -> str:
    """What tells one life of ``pid`` from another: nothing when there is no such process."""
    from wlmctl.host import boot_id, start_time

    started = start_time(pid)
    return _key(boot_id(), started)[:8] if started is not None else ""


def _pid_space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


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
