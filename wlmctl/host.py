"""This host and this process, named so that they can be recognised later: machine id, boot id, pid, start time."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process on one boot of one host; a pid that is used again has another start time."""

    host: str
    boot: str
    pid: int
    start_time: str


@cache
def host_id() -> str:
    """The machine id, and the host's name where there is none."""
    for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text and text != "uninitialized":
            return text
    return socket.gethostname()


def boot_id() -> str:
    """The kernel's random id of this boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def start_time(pid: int) -> str | None:
    """The start time of a live process in clock ticks since boot, or None when there is no such live process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    pid = os.getpid()
    return ProcessIdentity(host_id(), boot_id(), pid, start_time(pid) or "")


def is_gone(process: ProcessIdentity) -> bool:
    """True when the process is proven gone: it was on this host, and is not there now (or the host has rebooted)."""
    if process.host != host_id():
        return False
    return process.boot != boot_id() or start_time(process.pid) != process.start_time
