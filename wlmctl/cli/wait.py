"""``wlmctl wait``: until experiments have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import Duration, note, open_store, output_option, write, write_json
from wlmctl.cli.selection import Selection, chosen_with_series, selection_options
from wlmctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from wlmctl.store.rows import ExperimentRow


@click.command()
@selection_options
@click.option("--timeout", "timeout_s", type=Duration(), metavar="TIME", help="Give up after this time (10m): 124.")
@output_option
@click.pass_context
def wait(ctx: click.Context, /, selection: Selection, timeout_s: float | None, output: str) -> int:
    """Wait until the experiments have ended; prints each with its state as it ends.

    Ends with 1 when one has failed, else 5 when one was cancelled, else 0; with 124 when the time has run out. A
    series can be waited for once it is cancelled: that is for all of its experiments.
    """
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    ends: list[ExperimentRow] = []

    def ended(row: ExperimentRow) -> None:
        ends.append(row)
        if output == "text":
            write(f"{row.id} {row.state}\n", flush=True)

    from wlmctl.cli.waiting import until_final, warn_when_nobody_works
    from wlmctl.store.series import experiments_of

    with open_store(ctx) as db:
        rows, many = chosen_with_series(db, selection)
        for each in many:
            if not each.is_final:
                raise UsageError(f"{each.id} is a series and goes on: {each.which_one}, or cancel it first")
            rows += [row for row in experiments_of(db, each.id) if row not in rows]
        warn_when_nobody_works(db, rows)
        pending = until_final(db, rows, ended, deadline_s)
        if output == "json":
            from wlmctl.cli.status import as_json
            from wlmctl.store.listing import counts_of_all

            shown = [*ends, *pending]
            counts = counts_of_all(db, [row.seq for row in shown])
            write_json({"experiments": [as_json(row, counts[row.seq]) for row in shown]})
    if pending:
        note(f"the time is up: {', '.join(row.id for row in pending[:5])} has not ended")
        return ExitCode.TIMEOUT
    states = {row.state for row in ends}
    if "failed" in states:
        return ExitCode.FAILED
    return ExitCode.CANCELLED if "cancelled" in states else ExitCode.DONE
