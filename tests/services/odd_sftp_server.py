"""An SFTP server that misbehaves: OpenSSH's own, with a process before it that alters what passes.

``odd_subsystem`` gives the line of sshd_config; this file is also that process. Its manners, by name:

``size_off``: files are told to be so many bytes larger (smaller, below 0). ``reads_end_at``: a file ends at this
offset, whatever its size. ``reads_garbled_at``, ``writes_garbled_at``: the byte at this offset is another one.
``writes_lost_from``: what is written from this offset on is confirmed and dropped. ``largest_packet``: the server
dies of a longer one. ``largest_read``: no answer carries more. ``handles``: so many files can be open at once.
``silent_after``: no answer any more after so many. ``dies_after``: it ends after so many. ``no_extensions``: plain
version 3. ``refuses``: requests of this type fail, with ``text``. ``swaps``: every second answer comes before the one
that was due before it. ``ends_packets_early``: answers of this type have lost their last bytes. ``lower_case``: all
names are those in small letters. ``longest_name``: longer ones are refused.
"""

from __future__ import annotations

import json
import os
import shlex
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")

VERSION, OPEN, CLOSE, READ, WRITE, FSETSTAT, OPENDIR, RENAME, EXTENDED = 2, 3, 4, 5, 6, 10, 11, 18, 200
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
_OK, _EOF, _FAILURE, _BAD_MESSAGE = 0, 1, 4, 5
_POSIX_RENAME = b"posix-rename@openssh.com"
#: How many paths each type of request begins with.
_PATHS = {OPEN: 1, 7: 1, 9: 1, OPENDIR: 1, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1, RENAME: 2, 19: 1, 20: 2}
_SIZE, _REGULAR, _FORMAT = 0x01, 0o100000, 0o170000


def odd_subsystem(script: Path, home: Path, **manners: Any) -> str:
    """The line of sshd_config for a machine with ``no_sftp`` and a server of these manners, started by ``script``."""
    server = next(path for path in SFTP_SERVERS if os.access(path, os.X_OK))
    words = [sys.executable, "-I", "-S", __file__, json.dumps(manners), server, "-d", str(home)]
    script.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
    script.chmod(0o755)
    return f"Subsystem sftp {script}"


class OddServer:
    """Packets on their way to and from the real server."""

    def __init__(self, manners: dict[str, Any], requests: IO[bytes], answers: IO[bytes], server: list[str]) -> None:
        self._manners, self._requests, self._answers = manners, requests, answers
        self._server = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.Lock()
        self._reads: dict[bytes, int] = {}  # by the number of a READ: its offset
        self._opening: set[bytes] = set()
        self._opened = self._answered = 0
        self._held: bytes | None = None

    def run(self) -> None:
        """Until either end closes."""
        threading.Thread(target=self._pass_answers, daemon=True).start()
        assert self._server.stdin is not None
        for packet in _packets(self._requests):
            passed = self._altered_request(packet)
            if passed:
                self._server.stdin.write(_framed(passed))
                self._server.stdin.flush()
        self._server.stdin.close()
        self._server.wait()

    def _pass_answers(self) -> None:
        assert self._server.stdout is not None
        for packet in _packets(self._server.stdout):
            self._answer(self._altered_answer(packet))
        os._exit(0)

    def _altered_request(self, packet: bytes) -> bytes:
        """The packet for the real server, or nothing where this one answers itself."""
        kind, number = packet[0], packet[1:5]
        manners = self._manners
        if manners.get("lower_case"):
            packet = _in_small_letters(packet)
        name = max(_names(packet), key=len, default=b"").rpartition(b"/")[2]
        if len(name) > manners.get("longest_name", len(name)):
            self._answer(_status(number, _BAD_MESSAGE, "Bad message"))
            return b""
        if len(packet) > manners.get("largest_packet", len(packet)):
            os._exit(1)
        if kind in manners.get("refuses", ()):
            self._answer(_status(number, _FAILURE, manners.get("text", "Failure")))
            return b""
        if kind in (OPEN, OPENDIR):
            if self._opened >= manners.get("handles", 2**31):
                self._answer(_status(number, _FAILURE, "Too many open files"))
                return b""
            self._opened += 1
            self._opening.add(number)
        elif kind == CLOSE:
            self._opened -= 1
        elif kind == READ:
            return self._altered_read(packet, number)
        elif kind == WRITE:
            return self._altered_write(packet, number)
        return packet

    def _altered_read(self, packet: bytes, number: bytes) -> bytes:
        offset, length = struct.unpack(">QI", packet[-12:])
        length = min(
            length, self._manners.get("largest_read", length), self._manners.get("reads_end_at", 2**63) - offset
        )
        if length <= 0:
            self._answer(_status(number, _EOF, "End of file"))
            return b""
        self._reads[number] = offset
        return packet[:-4] + struct.pack(">I", length)

    def _altered_write(self, packet: bytes, number: bytes) -> bytes:
        at = 9 + int.from_bytes(packet[5:9], "big")
        offset, data = int.from_bytes(packet[at : at + 8], "big"), packet[at + 12 :]
        if offset + len(data) > self._manners.get("writes_lost_from", 2**63):
            self._answer(_status(number, _OK, ""))
            return b""
        return packet[: at + 12] + _garbled(data, self._manners.get("writes_garbled_at", -1) - offset)

    def _altered_answer(self, packet: bytes) -> bytes:
        kind, number = packet[0], packet[1:5]
        if kind == VERSION and self._manners.get("no_extensions"):
            packet = packet[:5]
        elif kind == DATA:
            at = self._manners.get("reads_garbled_at", -1) - self._reads.pop(number, 0)
            packet = packet[:9] + _garbled(packet[9:], at)
        elif kind == ATTRS:
            packet = packet[:5] + self._resized(packet[5:])
        elif kind == NAME:
            packet = packet[:9] + b"".join(self._resized_names(packet))
        elif kind == STATUS:
            self._reads.pop(number, None)
            if number in self._opening:
                self._opened -= 1
        self._opening.discard(number)
        if kind in self._manners.get("ends_packets_early", ()):
            packet = packet[:-3]
        return packet

    def _resized_names(self, packet: bytes) -> Iterator[bytes]:
        at = 9
        for _ in range(int.from_bytes(packet[5:9], "big")):
            begin = at
            for _name in range(2):
                at += 4 + int.from_bytes(packet[at : at + 4], "big")
            yield packet[begin:at]
            length = _attributes_length(packet[at:])
            yield self._resized(packet[at : at + length])
            at += length

    def _resized(self, attributes: bytes) -> bytes:
        """The attributes with another size, where they are those of a regular file."""
        flags, size = struct.unpack_from(">IQ", attributes.ljust(12, b"\0"))
        mode = int.from_bytes(attributes[20:24], "big")
        if not flags & _SIZE or mode & _FORMAT != _REGULAR:
            return attributes
        return attributes[:4] + struct.pack(">Q", max(0, size + self._manners.get("size_off", 0))) + attributes[12:]

    def _answer(self, packet: bytes) -> None:
        with self._lock:
            self._answered += 1
            if self._answered > self._manners.get("silent_after", self._answered):
                return
            if self._answered > self._manners.get("dies_after", self._answered):
                os._exit(1)
            if self._manners.get("swaps") and packet[0] == DATA and self._held is None and self._reads:
                self._held = packet  # until the next one, which is on its way
                return
            held, self._held = self._held, None
            self._answers.write(_framed(packet) + (_framed(held) if held else b""))
            self._answers.flush()


def _packets(stream: IO[bytes]) -> Iterator[bytes]:
    while len(head := stream.read(4)) == 4:
        yield stream.read(int.from_bytes(head, "big"))


def _framed(packet: bytes) -> bytes:
    return struct.pack(">I", len(packet)) + packet


def _status(number: bytes, code: int, text: str) -> bytes:
    said = text.encode()
    return bytes([STATUS]) + number + struct.pack(">II", code, len(said)) + said + struct.pack(">I", 0)


def _names(packet: bytes) -> list[bytes]:
    """The paths of a request."""
    count = _PATHS.get(packet[0], 0)
    at, found = 5, []
    if packet[0] == EXTENDED and packet[9:].startswith(_POSIX_RENAME):
        at, count = 9 + len(_POSIX_RENAME), 2
    for _ in range(count):
        length = int.from_bytes(packet[at : at + 4], "big")
        found.append(packet[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _in_small_letters(packet: bytes) -> bytes:
    for name in _names(packet):
        packet = packet.replace(name, name.lower(), 1)
    return packet


def _garbled(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] if 0 <= at < len(data) else data


def _attributes_length(data: bytes) -> int:
    """How long the attributes at the beginning of ``data`` are; OpenSSH's have no extended ones in NAME."""
    flags = int.from_bytes(data[:4], "big")
    return 4 + sum(length for flag, length in ((1, 8), (2, 8), (4, 4), (8, 8)) if flags & flag)


if __name__ == "__main__":
    OddServer(json.loads(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer, sys.argv[2:]).run()
