"""How far a transfer is, in one line."""

from __future__ import annotations

from wlmctl.quantities import format_duration, format_size


def how_far(
    bytes_done: int,
    bytes_total: int,
    files_done: int,
    files_total: int,
    rate_bytes_s: float,
    left_s: float | None,
    *,
    resumed_bytes: int = 0,
    skipped: int = 0,
) -> str:
    """``1.2 GiB of 3.0 GiB, 3 of 10 files, 85 MiB/s, 21s left``; empty where it has not begun."""
    parts = []
    if bytes_done or bytes_total:
        parts.append(format_size(bytes_done) + (f" of {format_size(bytes_total)}" if bytes_total else ""))
    if files_total > 1:
        parts.append(f"{files_done} of {files_total} files")
    if resumed_bytes:
        parts.append(f"{format_size(resumed_bytes)} resumed")
    if skipped:
        parts.append(f"{skipped} there already")
    if rate_bytes_s:
        parts.append(f"{format_size(rate_bytes_s)}/s")
    if left_s is not None:
        parts.append(f"{format_duration(left_s)} left")
    return ", ".join(parts)
