"""What commands share: the configuration and store of this call, ``-o``, JSON, which experiments, plain texts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from wlmctl.config import Config
    from wlmctl.store.database import Database

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """The global options of this call (``ctx.obj``); the configuration is read when it is first asked for."""

    config_file: str | None = None
    store: str | None = None
    broker: str | None = None
    scheduler: str | None = None
    verbose: int = 0
    _config: Config | None = field(default=None, repr=False)
    _with_all_machines: Config | None = field(default=None, repr=False)

    @property
    def config(self) -> Config:
        """The settings; ``InvalidFile`` or ``ConfigError`` for what is wrong in them."""
        if self._config is None:
            from wlmctl.config import load_config
            from wlmctl.secret import take

            self._config = load_config(self.config_file, store=self.store, broker=self.broker, scheduler=self.scheduler)
            take(self._config.secrets)
        return self._config

    @property
    def with_all_machines(self) -> Config:
        """The settings, with the machines that an orchestrator has told the store."""
        if self._with_all_machines is None:
            from wlmctl.runtime.inventory import for_looking

            self._with_all_machines = for_looking(self.config)
        return self._with_all_machines

    def start_logging(self) -> None:
        """Warnings to stderr, with ``-v`` also information, with ``-vv`` everything."""
        import logging

        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("wlmctl: %(message)s"))
        root = logging.getLogger()
        for old in [old for old in root.handlers if getattr(old, "of_wlmctl", False)]:
            root.removeHandler(old)
        handler.of_wlmctl = True  # type: ignore[attr-defined]
        root.addHandler(handler)
        root.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)])


def invocation(ctx: click.Context) -> Invocation:
    """The global options of this call; also where a command is invoked without the top group."""
    found = ctx.find_object(Invocation)
    return found if found is not None else Invocation()


def configuration(ctx: click.Context) -> Config:
    """The settings of this call."""
    return invocation(ctx).config


def with_all_machines(ctx: click.Context) -> Config:
    """The settings of this call, with the machines that an orchestrator has told the store."""
    return invocation(ctx).with_all_machines


def open_store(ctx: click.Context, create: bool = False) -> Database:
    """The store of this call. Without ``create``, one that does not exist yet has nothing in it and is not made."""
    from wlmctl.errors import NoStore
    from wlmctl.store.opening import open_configured, open_empty

    config = configuration(ctx)
    try:
        return open_configured(config, create=create)
    except NoStore:
        return open_empty(config)


def output_option(function: F) -> F:
    """``-o/--output text|json``, passed as ``output``."""
    return click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Text for people, or JSON."
    )(function)


def write(text: str, *, flush: bool = False) -> None:
    """Write to stdout, as it is."""
    sys.stdout.write(text)
    if flush:
        sys.stdout.flush()


def write_bytes(content: bytes) -> None:
    """Write bytes to stdout, as they are, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def write_json(document: Mapping[str, Any]) -> None:
    """Write one JSON document with ``"version": 1``; indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    write(json.dumps({"version": 1, **document}, indent=indent) + "\n")


def write_line(record: Mapping[str, Any]) -> None:
    """Write one object as a line of JSON, at once."""
    write(json.dumps(record, separators=(", ", ": ")) + "\n", flush=True)


def note(text: str) -> None:
    """Tell the user something on stderr that is no result."""
    click.echo(f"wlmctl: {text}", err=True)


def rfc3339(seconds: float | None) -> str | None:
    """A time of the store as ``2026-01-02T03:04:05.678Z``."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_time(seconds: float | None) -> str:
    """A time of the store for people, on their own clock; ``-`` for none."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table: aligned text, on a terminal as wide as that."""
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        shown = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in texts:
            shown.add_row(*map(Text, row))
        Console(highlight=False).print(shown)
        return
    widths: list[int] = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for row in ([*columns], *texts):
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


class Duration(click.ParamType[float]):
    """An option's duration: ``90s``, ``1d``, ``1-12:00:00``; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        from wlmctl.quantities import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}, expected {error}", param, ctx)


class ByteRate(click.ParamType[int]):
    """An option's bytes a second: ``10MiB``."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes a second."""
        from wlmctl.quantities import parse_size

        try:
            rate = parse_size(value)
        except ValueError:
            rate = 0
        if not rate:
            self.fail(f"{value!r}, expected a size of more than 0 for each second, such as 10MiB", param, ctx)
        return rate


def now_s() -> float:
    """The time, as the store counts it."""
    return time.time()
