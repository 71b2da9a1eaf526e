"""``wlmctl copy``: files between any two machines of the configuration, or an experiment's folders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import ByteRate, note, output_option, with_all_machines
from wlmctl.cli.stopping import Stopping
from wlmctl.errors import Broken, Cancelled, ExitCode, Unreachable, UsageError
from wlmctl.in_use import InUse
from wlmctl.text import in_quotes

if TYPE_CHECKING:
    from wlmctl.connections import ConnectionPool

#: Seconds between two looks whether it is to stop, and then for it to do so before connections are closed under it.
_LOOK_S, _STOP_S = 0.1, 0.5

#: Seconds of waiting for other transfers before that is told.
_TELL_S = 2.0


@click.command()
@click.argument("sources", metavar="SRC...", nargs=-1)
@click.argument("destination", metavar="DST")
@click.option("--verify", type=click.Choice(["sha256", "size", "none"]), default="sha256", show_default=True,
              help="What is compared before a file gets its name.")  # fmt: skip
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave out what matches; may be given again.")
@click.option("--symlinks", type=click.Choice(["keep", "follow", "refuse"]), default="keep", show_default=True,
              help="Make symlinks again, copy what they point at, or stop at one.")  # fmt: skip
@click.option("--bwlimit", type=ByteRate(), metavar="RATE", help="Send at most so much a second, as in 10MiB.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@output_option
@click.pass_context
def copy(
    ctx: click.Context,
    sources: Sequence[str],
    destination: str,
    verify: str,
    exclude: Sequence[str],
    symlinks: str,
    bwlimit: int | None,
    dry_run: bool,
    output: str,
) -> int:
    """Copy files, folders and patterns between machines.

    SRC and DST are MACHINE:PATH, or ID/ROLE:PATH for an experiment's folder; local: is this host. A relative path
    starts in the login folder, on this host in the current one. A SRC with a final slash means a folder's contents;
    a DST with one receives each SRC under its own name. The same command goes on with what was interrupted.

    With -o json one object a line, the summary last.
    """
    from wlmctl.cli.copy_ends import Ends, endpoint
    from wlmctl.cli.copy_progress import shown_progress, tell_dry_run, tell_plan, tell_summary
    from wlmctl.runtime.reach import connections
    from wlmctl.transfer import Source, Symlinks, Verify, command_name, likely_there, plan
    from wlmctl.transfer import copy as carry_out

    if not sources:
        raise UsageError(f"copy: {in_quotes(destination)} alone, expected at least one SRC and a DST")
    if "" in exclude:
        raise UsageError("--exclude '': is empty, expected a pattern")
    named, to = [endpoint(text) for text in sources], endpoint(destination)
    if to.is_pattern:
        raise UsageError(f"{destination}: a pattern cannot be a destination")
    if not to.is_folder and (len(named) > 1 or named[0].is_pattern):
        raise UsageError(f"{destination}: several sources, or a pattern, need a destination with a final slash")
    stopping = Stopping()

    def check() -> None:
        if stopping.is_asked:
            raise Cancelled("interrupted")

    with connections(with_all_machines(ctx)) as pool:
        in_use = InUse(pool.break_off)
        ends = Ends(ctx, pool, check, in_use)
        try:
            *begins, end = ends.find([*named, to])
            execution = command_name(each.name for each in [*begins, end])
            made = plan(
                [Source(each.place, each.spot) for each in begins],
                end.place,
                end.spot,
                symlinks=Symlinks(symlinks),
                exclude=exclude,
                check=check,
                execution=execution,
            )
            there = likely_there(made, Verify(verify)) if dry_run else frozenset()
        except KeyboardInterrupt:
            note("interrupted before anything was written")
            return ExitCode.INTERRUPTED
        if dry_run:
            tell_dry_run(made, there, Verify(verify), output)
            return ExitCode.DONE
        tell_plan(made, output)
        waiting = _Waiting(check, pool)
        machines = [*{each.machine.name: each.machine for each in begins}.values(), end.machine]
        try:  # what was done so far may be broken off anywhere; from here on there are temporary files
            with (
                stopping,
                _broken_off(stopping, in_use),
                pool.transfer(machines, made.size_bytes, made.files, waiting) as pace,
                shown_progress(output) as progress,
            ):
                waiting.is_over = True
                if bwlimit is not None:
                    pace.keep(lambda: bwlimit)
                summary = carry_out(
                    made,
                    verify=Verify(verify),
                    execution=execution,
                    progress=progress,
                    check=check,
                    pace=pace,
                    keeps=(Cancelled, Broken, Unreachable),
                )
        except Cancelled:
            note("interrupted; no partial file has a final name, and the same command goes on from here")
            return stopping.exit_code
    tell_summary(summary, output)
    return ExitCode.DONE


@contextmanager
def _broken_off(stopping: Stopping, in_use: InUse) -> Iterator[None]:
    """Once it is to stop, connections that keep it waiting are closed under it."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_S):
            if stopping.is_asked:
                if not is_over.wait(_STOP_S):
                    in_use.close()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


class _Waiting:
    """A check that says once that it waits, until that is over; meanwhile others may have its connections."""

    def __init__(self, check: Callable[[], None], pool: ConnectionPool) -> None:
        self._check, self._pool, self._began_s = check, pool, time.monotonic()
        self.is_over = self._is_told = False

    def __call__(self) -> None:
        self._check()
        if self.is_over:
            return
        self._pool.close_idle(0)
        if not self._is_told and time.monotonic() > self._began_s + _TELL_S:
            self._is_told = True
            note("waits until fewer others transfer with the same machine (max_connections)")
