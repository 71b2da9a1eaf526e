"""What the contract suite of transports writes: odd names, sizes around the edges, contents that show an error."""

# mypy: disable-error-code="type-abstract"
from __future__ import annotations

import hashlib
from typing import TypeVar

import pytest

from wlmctl.transport import CHUNK_BYTES, FileInfo, Transport

#: A time that a file may have, whole seconds: no protocol must keep more.
MTIME_S = 1_500_000_001.0

ODD_NAMES = [
    "plain",
    "with space",
    "  blanks around  ",
    "single'quote",
    'double"quote',
    "new\nline",
    "new\nlines\n",
    "tab\there",
    "$(touch injected)",
    "`touch injected`",
    "$HOME",
    "a;touch injected",
    "a&b|c>d<e",
    "-rf",
    "--help",
    "~",
    "*",
    "[a-z]?",
    "back\\slash",
    "\\n",
    "#hash",
    "!bang",
    "{a,b}",
    "%s%n",
    "x=y",
    "ünïcödé-文字",
    b"not-utf8-\xff\xfe".decode("utf-8", "surrogateescape"),
    "n" * 200,
    ".hidden",
    "...",
]

SIZES = [0, 1, 1000, 32 * 1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 17]

_P = TypeVar("_P")


def content_of(size_bytes: int) -> bytes:
    """Bytes that repeat in no handy period, so that a block in the wrong place shows."""
    line = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(1009))
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


def info_of(content: bytes, mode: int = 0o644, mtime_s: float = MTIME_S) -> FileInfo:
    """The info that ``write`` wants with ``content``."""
    return FileInfo("", "file", len(content), mode, mtime_s)


def put(transport: Transport, path: str, content: bytes = b"", mode: int = 0o644) -> None:
    """Write ``content`` to ``path``."""
    transport.write(path, [content] if content else [], info_of(content, mode))


def get(transport: Transport, path: str, offset: int = 0) -> bytes:
    """All that ``read`` yields."""
    return b"".join(transport.read(path, offset))


def with_protocol(transport: Transport, protocol: type[_P]) -> _P:
    """``transport`` as what it also is; the test is skipped where it is not."""
    if not isinstance(transport, protocol):
        pytest.skip(f"this transport has no {protocol.__name__}")
    return transport
