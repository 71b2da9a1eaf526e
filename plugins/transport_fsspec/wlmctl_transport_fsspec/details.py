"""What a backend tells of a file, each in words of its own, as the transport contract has it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from wlmctl.transport import FileInfo

_TIMES = ("LastModified", "last_modified", "Last-Modified", "mtime", "modified", "updated")
#: What changes with the content.
_TAGS = ("ETag", "etag", "ino")


def info_of(path: str, row: Mapping[str, Any]) -> FileInfo:
    """The file or folder at ``path``. Where the store keeps no mode it is that of any file."""
    if row["type"] == "directory" or str(row.get("name", "")).endswith("/"):
        return FileInfo(path, "directory", mode=_mode(row, 0o755), mtime_s=_time_s(row))
    if row["type"] != "file" or row.get("islink"):
        return FileInfo(path, "other")
    tag = next((str(row[name]) for name in _TAGS if row.get(name)), None)
    return FileInfo(path, "file", int(row["size"] or 0), _mode(row, 0o644), _time_s(row), tag)


def _mode(row: Mapping[str, Any], default: int) -> int:
    mode = row.get("mode")
    return stat.S_IMODE(mode) if isinstance(mode, int) else default


def _time_s(row: Mapping[str, Any]) -> float:
    when = next((row[name] for name in _TIMES if row.get(name)), 0.0)
    if isinstance(when, str):
        try:
            when = parsedate_to_datetime(when)
        except ValueError:
            return 0.0
    if isinstance(when, datetime):
        return when.timestamp()
    return float(when) if isinstance(when, int | float) else 0.0
