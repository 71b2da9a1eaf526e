"""Looking at processes of this host in tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.waiting import wait_until


def with_token(token: str) -> list[int]:
    """The live processes that have this job's token in their environment."""
    wanted, found = f"WLMCTL_TOKEN={token}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0") and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """True for a process that exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def wrapper_of(folder: str) -> int:
    """The pid that the start fence of a job names."""
    return int(Path(folder, "fence").read_text().split()[2])


def kill(pid: int) -> None:
    """SIGKILL, where there is such a process."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """A signal to each of them that is there."""
    for pid in pids:
        if pid > 1:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def stop(pids: Iterable[int]) -> None:
    """SIGSTOP, and wait until none of their threads runs any more: those of a busy host take a while to hear of it."""
    stopped = list(pids)
    send(stopped, signal.SIGSTOP)
    wait_until(lambda: all(map(_stands_still, stopped)), "every thread has stopped")


def _stands_still(pid: int) -> bool:
    """True for a process of which no thread can run, also for one that is gone."""
    states = set[str]()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):
            states.add(stat.read_text(errors="replace").rpartition(")")[2].split()[0])
    return states <= {"T", "t", "Z", "X"}


def descendants(pid: int) -> list[int]:
    """The pids of all that the process has started, directly or not, and that still has a parent."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found
