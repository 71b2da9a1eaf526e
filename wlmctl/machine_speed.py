"""How fast a machine is for what wlmctl does there, measured over one connection, and what limits it."""

from __future__ import annotations

import os
import secrets
import shlex
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from wlmctl.connections import ConnectionPool
from wlmctl.errors import NoSpace, WlmctlError
from wlmctl.machine import Machine
from wlmctl.pace import Pace
from wlmctl.quantities import format_size
from wlmctl.transport import CHUNK_BYTES, Bulk, Digests, FileInfo, Runs, Space, Transport

ScratchOf = Callable[[Machine, Transport], str]

#: Sizes that are tried, one after the other, until one takes long enough to be measured.
SIZES_BYTES = (256 * 1024, 2 * 1024**2, 16 * 1024**2, 128 * 1024**2)
LONG_ENOUGH_S = 0.5

#: Small files in one go, their size, and seconds in which as many goes, and commands, are made.
FILES, FILE_BYTES, SPAN_S = 200, 4096, 1.0

#: What takes so much of the time, or of the rate, is what limits.
MOST, NEARLY = 0.8, 1.25

#: A login that takes longer, and an answer, are worth a word.
SLOW_LOGIN_S, SLOW_ANSWER_S = 1.0, 0.02


@dataclass(slots=True)
class Speed:
    """What was measured; None: it cannot be. ``processor_up`` and ``processor_down`` are the shares of the time in
    which this host's processor worked for it."""

    login_s: float | None = None
    round_trip_s: float = 0.0
    up_bytes_s: float = 0.0
    down_bytes_s: float = 0.0
    hash_bytes_s: float | None = None
    disk_bytes_s: float | None = None
    small_files_s: float = 0.0
    commands_s: float | None = None
    processor_up: float = 0.0
    processor_down: float = 0.0
    limits: list[Limit] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limit:
    """What limits the rate of ``of``: ``line``, ``processor``, ``disk``, ``tool``, ``round trip``, ``login`` or
    ``setting``."""

    of: str
    by: str
    text: str


def measure(machine: Machine, pool: ConnectionPool, scratch_of: ScratchOf) -> Speed:
    """All of it, in some seconds; takes a slot for transfers, keeps to the bandwidth, and leaves nothing behind."""
    speed = Speed()
    with pool.transfer([machine], SIZES_BYTES[-1], FILES) as pace:
        asked_s = time.monotonic()
        with pool.lease(machine) as transport:
            if not machine.is_local:
                speed.login_s = time.monotonic() - asked_s
            folder = f"{scratch_of(machine, transport)}/.speed.wlm-{secrets.token_hex(6)}"
            try:
                transport.makedirs(folder, 0o700)
                _measure(transport, folder, pace, speed)
                transport.remove(folder)
            except BaseException:
                _clear(machine, pool, transport, folder)
                raise
    speed.limits = list(_limits(machine, speed))
    return speed


def _clear(machine: Machine, pool: ConnectionPool, transport: Transport, folder: str) -> None:
    """Remove what is there, over another connection where this one does not work any more."""
    try:
        transport.remove(folder)
    except WlmctlError:
        transport.close()
        with suppress(WlmctlError), pool.lease(machine) as other:
            other.remove(folder)


def _measure(transport: Transport, folder: str, pace: Pace, speed: Speed) -> None:
    speed.round_trip_s = _round_trip_s(transport)
    path, size_bytes = f"{folder}/large", 0
    block = os.urandom(CHUNK_BYTES)
    room_bytes = transport.free_bytes(folder) if isinstance(transport, Space) else None
    for size_bytes in SIZES_BYTES:
        if room_bytes is not None and room_bytes < 4 * size_bytes:
            raise NoSpace(
                f"{folder}: {format_size(4 * size_bytes)} are needed to measure, {format_size(room_bytes)} are free"
            )
        took = _Took()
        transport.write(path, _chunks(block, size_bytes, pace), FileInfo(path, "file", size_bytes, 0o600, time.time()))
        speed.up_bytes_s, speed.processor_up = took.rate(size_bytes)
        if took.seconds >= LONG_ENOUGH_S:
            break
    took = _Took()
    for chunk in transport.read(path):
        pace(len(chunk))
    speed.down_bytes_s, speed.processor_down = took.rate(size_bytes)
    took = _Took()
    if isinstance(transport, Digests) and transport.digest(path) is not None:
        speed.hash_bytes_s, _ = took.rate(size_bytes)
    if isinstance(transport, Runs):
        speed.disk_bytes_s = _disk(transport, f"{folder}/disk", size_bytes)
        speed.commands_s = _in_span(lambda: _command(transport))
    speed.small_files_s = _in_span(lambda: _small_files(transport, folder, pace))


def _round_trip_s(transport: Transport) -> float:
    home, times_s = transport.home(), list[float]()
    for _ in range(7):
        began_s = time.monotonic()
        transport.stat(home)
        times_s.append(time.monotonic() - began_s)
    return statistics.median(times_s)


def _chunks(block: bytes, size_bytes: int, pace: Pace) -> Iterator[bytes]:
    for _ in range(size_bytes // len(block)):
        pace(len(block))
        yield block


def _disk(transport: Runs, path: str, size_bytes: int) -> float | None:
    """Bytes a second that the far side writes itself, to the disk; None where it has no such tool."""
    blocks = size_bytes // CHUNK_BYTES
    command = f"dd if=/dev/zero of={shlex.quote(path)} bs={CHUNK_BYTES} count={blocks} conv=fsync"
    took = _Took()
    done = transport.run(command, timeout_s=60)
    return took.rate(size_bytes)[0] if done.exit_code == 0 else None


def _command(transport: Runs) -> int:
    transport.run("true", timeout_s=60)
    return 1


def _small_files(transport: Transport, folder: str, pace: Pace) -> int:
    below, content = f"{folder}/{secrets.token_hex(4)}", os.urandom(FILE_BYTES)
    transport.makedirs(below, 0o700)
    files = [
        (path, content, FileInfo(path, "file", FILE_BYTES, 0o600, time.time()))
        for path in (f"{below}/{number}" for number in range(FILES if isinstance(transport, Bulk) else FILES // 10))
    ]
    pace(FILE_BYTES * len(files))
    if isinstance(transport, Bulk):
        transport.write_many(files)
    else:
        for path, body, info in files:
            transport.write(path, [body], info)
    return len(files)


def _in_span(once: Callable[[], int]) -> float:
    """How many a second, doing it again and again for a while."""
    count, began_s = 0, time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < SPAN_S:
        count += once()
    return count / elapsed_s


class _Took:
    """The time since it was made, and how much of it this process worked."""

    def __init__(self) -> None:
        self._began_s, self._worked_s = time.monotonic(), time.process_time()
        self.seconds = 0.0

    def rate(self, size_bytes: int) -> tuple[float, float]:
        """Bytes a second, and the share of the time in which a processor worked here."""
        self.seconds = max(time.monotonic() - self._began_s, 1e-6)
        return size_bytes / self.seconds, (time.process_time() - self._worked_s) / self.seconds


def _limits(machine: Machine, speed: Speed) -> Iterator[Limit]:
    for of, rate, share in (
        ("up", speed.up_bytes_s, speed.processor_up),
        ("down", speed.down_bytes_s, speed.processor_down),
    ):
        yield _of_large_files(machine, of, rate, share, speed.disk_bytes_s if of == "up" else None)
    slower = min(speed.up_bytes_s, speed.down_bytes_s)
    if speed.hash_bytes_s is None:
        yield Limit("verify", "line", "no tool there computes sha256: copies are read back, which takes as long again")
    elif speed.hash_bytes_s < slower:
        text = f"sha256 takes longer there than the transfer ({format_size(speed.hash_bytes_s)}/s)"
        yield Limit("verify", "tool", text)
    if speed.round_trip_s > SLOW_ANSWER_S:
        yield Limit("small files", "round trip", f"each answer takes {speed.round_trip_s * 1000:.0f} ms")
    if speed.login_s is not None and speed.login_s > SLOW_LOGIN_S:
        yield Limit("logins", "login", f"a login takes {speed.login_s:.1f} s: connections are kept and used again")


def _of_large_files(machine: Machine, of: str, rate: float, share: float, disk_bytes_s: float | None) -> Limit:
    if machine.bandwidth_bytes_s is not None and rate * NEARLY >= machine.bandwidth_bytes_s:
        return Limit(of, "setting", f"bandwidth = {format_size(machine.bandwidth_bytes_s)} a second, as configured")
    if share >= MOST:
        return Limit(of, "processor", f"a processor of this host, which works {min(share, 1):.0%} of the time")
    if machine.is_local or (disk_bytes_s is not None and disk_bytes_s <= rate * NEARLY):
        return Limit(of, "disk", "the disk there" if not machine.is_local else "the disk")
    return Limit(of, "line", "the line, or a processor of the machine")
