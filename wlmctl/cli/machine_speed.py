"""What ``machine test --speed`` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wlmctl.cli.common import write
from wlmctl.quantities import format_size

if TYPE_CHECKING:
    from wlmctl.machine_speed import Speed


def speed_json(speed: Speed | None) -> dict[str, Any]:
    """What was measured, for JSON; nothing where nothing was."""
    if speed is None:
        return {}
    figures = asdict(speed)
    return {"speed": {key: round(value, 6) if isinstance(value, float) else value for key, value in figures.items()}}


def tell_speed(name: str, speed: Speed) -> None:
    """What was measured, for people."""
    for part, text in _lines(speed):
        write(f"{name}  {part:<11} {text}\n", flush=True)


def _lines(speed: Speed) -> Iterator[tuple[str, str]]:
    if speed.login_s is not None:
        yield "login", f"{speed.login_s * 1000:.0f} ms"
    yield "round trip", f"{speed.round_trip_s * 1000:.2f} ms"
    yield "up", f"{format_size(speed.up_bytes_s)}/s"
    yield "down", f"{format_size(speed.down_bytes_s)}/s"
    yield "sha256", "no tool there" if speed.hash_bytes_s is None else f"{format_size(speed.hash_bytes_s)}/s there"
    if speed.disk_bytes_s is not None:
        yield "disk", f"{format_size(speed.disk_bytes_s)}/s there, written and synchronised"
    yield "small files", f"{speed.small_files_s:.0f} a second"
    yield "commands", "no shell" if speed.commands_s is None else f"{speed.commands_s:.0f} a second"
    for limit in speed.limits:
        yield "limit", f"{limit.of}: {limit.text}"
