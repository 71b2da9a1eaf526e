"""``wlmctl run``: an experiment, worked on by this process to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import configuration, invocation, output_option, write, write_line
from wlmctl.cli.stopping import Stopping
from wlmctl.errors import UsageError

if TYPE_CHECKING:
    from wlmctl.store.leases import Lease


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--name", help="Name the experiment otherwise than the file does.")
@click.option("--label", "labels", multiple=True, help="Add a label; may be repeated.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Set a parameter; may be repeated.")
@click.option("--slots", type=click.IntRange(1, 10_000), help="So many steps at once (default: 8).")
@output_option
@click.pass_context
def run(
    ctx: click.Context,
    file: str,
    name: str | None,
    labels: tuple[str, ...],
    params: tuple[str, ...],
    slots: int | None,
    output: str,
) -> int:
    """Run the experiment of FILE here, to its end.

    Prints its id; progress goes to stderr. Ctrl-C leaves its jobs running; `wlmctl resume ID` goes on. Ends with 0
    when the experiment has succeeded, 1 when it has failed, 5 when it was cancelled. A file with a schedule is for
    `wlmctl submit` only.
    """
    from wlmctl.cli.submit import parameters
    from wlmctl.experiment import read
    from wlmctl.plugins import task_type
    from wlmctl.runtime.batch_options import options_check
    from wlmctl.runtime.preflight import refuse_untrusted
    from wlmctl.runtime.settings import check_batch_systems, check_scheduler
    from wlmctl.runtime.submit import submit_for_run
    from wlmctl.store.opening import open_configured

    config = configuration(ctx)
    experiment = read(
        file,
        name=name,
        labels=labels,
        params=parameters(params),
        machines=config.machines,
        counters=config.counters,
        task_type=task_type,
        check=options_check(config.machines),
    )
    if experiment.schedule is not None:
        raise UsageError(
            f"{file}: schedule: it makes a series, which an orchestrator works on: wlmctl submit {file}"
            " (to run it once, now, leave the key out)"
        )
    check_scheduler(config)
    check_batch_systems(config, experiment)
    refuse_untrusted(config, experiment)

    def hand_over(identifier: str) -> None:
        """Tell the id before the commit: where nobody can read it, nothing is begun."""
        if output == "json":
            write_line({"version": 1, "experiment": identifier, "kind": "submitted"})
        else:
            write(f"{identifier}\n", flush=True)

    with Stopping() as stopping:  # from here on, so that an end at any moment says how to go on
        with open_configured(config) as db:
            _, lease, seq = submit_for_run(db, experiment, hand_over=hand_over)
        return work_in_foreground(ctx, {seq: lease}, output, stopping, slots=slots)


def work_in_foreground(
    ctx: click.Context, leases: Mapping[int, Lease], output: str, stopping: Stopping, *, slots: int | None = None
) -> int:
    """Work on these experiments, whose leases this process holds, to their end, with progress; the exit code.

    0 all succeeded, 1 one failed, 5 one was cancelled, 130 and 143 interrupted (jobs go on).
    """
    from wlmctl.cli.progress import follow
    from wlmctl.runtime.foreground import Foreground

    config = invocation(ctx).config
    return follow(
        Foreground(config, leases, slots=slots), config.store, leases, output, stopping, password=config.store_login
    )
