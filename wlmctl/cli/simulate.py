"""``wlmctl simulate``: what schedulers would have made of a trace, or of the own past, before one is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from wlmctl.cli import common
from wlmctl.errors import ExitCode, UsageError
from wlmctl.text import in_quotes

if TYPE_CHECKING:
    from pathlib import Path

    from wlmctl.simulation.engine import Outcome
    from wlmctl.simulation.figures import Figures
    from wlmctl.simulation.workload import Problem, Workload


#: What replaying has no use for, since it asks again about what was shown then.
_SIMULATED = ("machines", "compress", "scale_machines", "cap_s", "priorities", "changes", "seed", "plot")


class Factor(click.ParamType[float]):
    """A factor above 0: ``1.4``, ``1/16``."""

    name = "factor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        try:
            found = float(Fraction(value) if "/" in str(value) else value)  # of 1e999999999 a fraction is never made
        except (ValueError, ZeroDivisionError, OverflowError):
            found = 0.0
        if not 1e-6 <= found <= 1e6:
            expected = "a number above 0 such as 1.4 or 1/16, from 1e-6 to 1e6"
            self.fail(f"{in_quotes(str(value))}, expected {expected}", param, ctx)
        return found


@click.command()
@click.option("--trace", metavar="FILE", help="A trace: SWF or Alibaba's list of pods, also as .gz.")
@click.option("--history", is_flag=True, help="The jobs of the own store instead of a trace.")
@click.option("--since", "since_s", type=common.Duration(), metavar="AGE", help="Of the history: this time (30d, 12h).")
@click.option("--replay", metavar="FILE", help="Decisions of a live run (record_decisions), asked for again.")
@click.option("--machines", metavar="FILE|inventory", help="The machines; default: the file beside the trace.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME[:KEY=VALUE,...]",
              help="A scheduler, typed-fifo or easy; may be repeated. Default: all.")  # fmt: skip
@click.option("--compress", type=Factor(), default=1.0, metavar="F", help="Divide the times between arrivals.")
@click.option("--scale-machines", type=Factor(), default=1.0, metavar="F", help="So many times the machines (1/16).")
@click.option("--cap-runtime", "cap_s", type=common.Duration(), metavar="D", help="No job runs for longer.")
@click.option("--queue-priority", "priorities", multiple=True, metavar="NAME=LEVEL", help="Priority of a queue.")
@click.option("--what-if", "changes", multiple=True, metavar="TEXT", help="Such as machines.cluster.cpus=128.")
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of what is drawn (default 0).")
@click.option("--plot", metavar="FILE.svg|png", help="Draw waits and utilisation into this file (wlmctl[plot]).")
@common.output_option
@click.pass_context
def simulate(
    ctx: click.Context,
    trace: str | None,
    history: bool,
    since_s: float | None,
    replay: str | None,
    machines: str | None,
    strategies: tuple[str, ...],
    compress: float,
    scale_machines: float,
    cap_s: float | None,
    priorities: tuple[str, ...],
    changes: tuple[str, ...],
    seed: int,
    plot: str | None,
    output: str,
) -> int:
    """Play a trace, or the own past, with schedulers, and compare how long jobs would have waited.

    The schedulers are the installed plugins themselves. Ends with 1 when one of them leaves jobs unstarted, or decides
    otherwise than it did in the live run that is replayed.
    """
    from wlmctl import plugins
    from wlmctl.simulation import changes as conditions
    from wlmctl.simulation.strategies import YARDSTICKS, chosen
    from wlmctl.simulation.workload import Workload, prepare

    if (trace is not None) + history + (replay is not None) != 1:
        raise UsageError("simulate: expected one of --trace FILE, --history and --replay FILE")
    if since_s is not None and not history:
        raise UsageError("--since: it is about the history, expected with --history")
    if replay is not None:
        for param in ctx.command.params:
            if param.name in _SIMULATED and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
                raise UsageError(f"{param.opts[0]}: it is about what is simulated, expected without --replay")
        return _replay(replay, strategies, output)
    picture = None if plot is None else _picture(plot)
    installed = plugins.names("scheduler")
    choices = [chosen(text, installed) for text in dict.fromkeys(strategies or (*installed, *YARDSTICKS))]
    given = dict(map(_queue_priority, priorities))
    if cap_s == 0:
        raise UsageError("--cap-runtime 0s: no job runs for no time at all, expected a longer one")
    loaded = _from_history(ctx, machines, since_s) if trace is None else _from_trace(ctx, trace, machines)
    jobs = conditions.compressed(loaded.jobs, compress)
    if cap_s is not None:
        jobs = conditions.capped(jobs, cap_s)
    nodes = list(loaded.nodes)
    for change in changes:
        nodes = conditions.what_if(nodes, change)
    if scale_machines != 1:
        nodes = conditions.scaled(nodes, scale_machines)
    problem = prepare(Workload(jobs, nodes, loaded.notes), conditions.levels(jobs, given))
    for text in problem.notes:
        common.note(text)
    if not problem.jobs:
        raise UsageError("simulate: no job fits on the machines, expected machines that the jobs fit on")
    return _play(ctx, problem, choices, seed, picture, output)


def _play(
    ctx: click.Context, problem: Problem, choices: Sequence[Any], seed: int, picture: Path | None, output: str
) -> int:
    from wlmctl import plugins
    from wlmctl.cli.simulate_progress import shown_progress
    from wlmctl.simulation.engine import simulate as play
    from wlmctl.simulation.figures import figures
    from wlmctl.simulation.strategies import strategy

    found: list[Figures] = []
    outcomes: list[tuple[str, Outcome]] = []
    code = ExitCode.DONE
    config = common.configuration(ctx)
    # all of them first: a wrong option of the last is told before the others have played for hours
    made = [
        strategy(
            choice, problem, seed, plugins.scheduler_factory,
            config.scheduler_options if choice.name == config.scheduler else {},
        )
        for choice in choices
    ]  # fmt: skip
    for choice, player in zip(choices, made, strict=True):
        with shown_progress(choice.text) as progress:
            outcome = play(problem, player, progress)
        found.append(figures(choice.text, outcome))
        outcomes.append((choice.text, outcome))
        for text in outcome.notes:
            common.note(f"{choice.text}: {text}")
        spent_ms = 1000 * outcome.spent_s / max(1, outcome.decisions)
        several = "s" * (outcome.decisions != 1)
        common.note(f"{choice.text}: {outcome.decisions:,} decision{several} of {spent_ms:.3g} ms each")
        if found[-1].jobs < len(problem.jobs):
            code = ExitCode.FAILED
    if output == "json":
        common.write_json({"strategies": [asdict(row) for row in found]})
    else:
        _write(found)
    if picture is not None:
        from wlmctl.simulation.plot import draw

        draw(picture, outcomes)
    return code


def _picture(name: str) -> Path:
    """Where the picture will be; what keeps it from being drawn is told before hours are simulated for it."""
    from pathlib import Path

    from wlmctl.simulation.plot import check

    path = Path(name)
    check(path)
    return path


def _replay(file: str, strategies: Sequence[str], output: str) -> int:
    from pathlib import Path

    from wlmctl import plugins
    from wlmctl.simulation.replay import replay
    from wlmctl.simulation.strategies import chosen

    if len(strategies) > 1:
        raise UsageError("--replay: expected one --strategy at most: whom to ask instead of those who decided then")
    other = None
    for text in strategies:
        choice = chosen(text, plugins.names("scheduler"), yardsticks=())
        other = choice.name, choice.options
    found = replay(Path(file), plugins.scheduler_factory, other)
    if output == "json":
        common.write_json({"replayed": [asdict(row) for row in found]})
    else:
        rows = [(row.name, row.decisions, row.same, row.difference or "-") for row in found]
        common.table(("SCHEDULER", "DECISIONS", "THE SAME", "FIRST DIFFERENCE"), rows)
    return ExitCode.DONE if all(row.difference is None for row in found) else ExitCode.FAILED


def _from_trace(ctx: click.Context, trace: str, machines: str | None) -> Workload:
    from pathlib import Path

    from wlmctl.simulation.sources import INVENTORY, from_trace

    inventory = common.with_all_machines(ctx).machines if machines == INVENTORY else {}
    return from_trace(Path(trace), machines, inventory)


def _from_history(ctx: click.Context, machines: str | None, since_s: float | None) -> Workload:
    from wlmctl import plugins
    from wlmctl.simulation.history import from_history
    from wlmctl.simulation.sources import nodes_for_history

    inventory = common.with_all_machines(ctx).machines
    nodes = nodes_for_history(machines, inventory)
    with common.open_store(ctx) as db:
        after_s = None if since_s is None else common.now_s() - since_s
        return from_history(db, nodes, inventory, plugins.task_type, after_s)


def _queue_priority(text: str) -> tuple[str, int]:
    from wlmctl.experiment.model import PRIORITIES

    name, equals, level = text.rpartition("=")
    found = PRIORITIES.get(level, int(level) if level.isdecimal() and len(level) == 1 else -1)
    if not equals or not name or not 0 <= found <= 9:
        expected = f"NAME=LEVEL with a level of 0-9 or {', '.join(PRIORITIES)}"
        raise UsageError(f"--queue-priority {in_quotes(text)}, expected {expected}")
    return name, found


def _write(found: Sequence[Figures]) -> None:
    from wlmctl.quantities import format_duration

    def time(seconds: float | None) -> str | None:
        return None if seconds is None else format_duration(seconds)

    columns = ("STRATEGY", "JOBS", "WAIT", "MEDIAN", "95 %", "LONGEST", "SLOWDOWN", "USED", "MAKESPAN", "FAIRNESS")
    common.table(
        columns,
        [
            (
                row.name, row.jobs, time(row.wait_mean_s), time(row.wait_p50_s), time(row.wait_p95_s),
                time(row.wait_max_s), "-" if row.slowdown_mean is None else f"{row.slowdown_mean:.1f}",
                f"{row.utilisation:.1%}", time(row.makespan_s),
                "-" if row.user_fairness is None else f"{row.user_fairness:.2f}",
            )
            for row in found
        ],
    )  # fmt: skip
