"""Which experiments a command is about: ids, ids on stdin (``-``), or filters."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from wlmctl.cli.common import Duration, note, now_s
from wlmctl.errors import UsageError

if TYPE_CHECKING:
    from wlmctl.store.database import Database
    from wlmctl.store.rows import ExperimentRow
    from wlmctl.store.series import SeriesRow

F = TypeVar("F", bound=Callable[..., Any])

#: The states of an experiment, as ``--state`` takes them.
STATES = ("scheduled", "running", "paused", "cancelling", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Selection:
    """Ids as they were given, or filters; never both."""

    ids: tuple[str, ...] = ()
    name: str | None = None
    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    since_s: float | None = None
    from_stdin: bool = False

    @property
    def has_filters(self) -> bool:
        """True when any filter is given."""
        return bool(self.name is not None or self.labels or self.states or self.since_s is not None)

    @property
    def is_empty(self) -> bool:
        """True when nothing was said about which experiments are meant."""
        return not self.ids and not self.from_stdin and not self.has_filters


def selection_options(function: F) -> F:
    """Arguments ``ID...`` (``-``: ids on stdin) and the filters, passed as ``selection``."""
    return with_selection_options("[ID]...")(function)


def with_selection_options(metavar: str) -> Callable[[F], F]:
    """As ``selection_options``, with another word for the arguments in the help."""
    return functools.partial(_decorated, metavar)


def _decorated(metavar: str, function: F) -> F:
    @functools.wraps(function)
    def with_selection(*args: Any, **options: Any) -> Any:
        given = tuple(options.pop("selected_ids"))
        selection = Selection(
            ids=_ids(given),
            name=options.pop("name_glob"),
            labels=tuple(options.pop("with_labels")),
            states=tuple(options.pop("in_states")),
            since_s=options.pop("since_s"),
            from_stdin="-" in given,
        )
        if given and selection.has_filters:
            raise UsageError("give ids or filters (--name, --label, --state, --since), not both")
        return function(*args, selection=selection, **options)

    decorated: Callable[..., Any] = with_selection
    for option in (
        click.option("--since", "since_s", type=Duration(), metavar="AGE", help="Created within this time (1d, 2h)."),
        click.option("--state", "in_states", type=click.Choice(STATES), multiple=True, help="In this state."),
        click.option("--label", "with_labels", metavar="LABEL", multiple=True, help="With this label; all of several."),
        click.option("--name", "name_glob", metavar="GLOB", help="With a name like this pattern."),
        click.argument("selected_ids", metavar=metavar, nargs=-1),
    ):
        decorated = option(decorated)
    return cast(F, decorated)


def _ids(given: tuple[str, ...]) -> tuple[str, ...]:
    """The ids, those on stdin put in for ``-``, each once."""
    found: dict[str, None] = {}
    for text in given:
        for word in sys.stdin.read().split() if text == "-" else [text]:
            found[word] = None
    return tuple(found)


def chosen(db: Database, selection: Selection, *, everything: bool = False) -> list[ExperimentRow]:
    """The experiments that are meant; with ``everything``, saying nothing means all, newest first.

    ``NoSuch`` for an id that is not there; a filter that matches none is a note on stderr and an empty list.
    """
    from wlmctl.store import experiments

    if selection.ids or selection.from_stdin:
        rows = {row.seq: row for row in (experiments.find(db, text) for text in selection.ids)}
        return list(rows.values())
    if selection.is_empty and not everything:
        raise UsageError("which experiments? give ids, - for ids on stdin, or a filter such as --state running")
    since_s = None if selection.since_s is None else now_s() - selection.since_s
    found = experiments.select(
        db, name=selection.name, labels=selection.labels, states=selection.states, since_s=since_s
    )
    if not found and selection.has_filters:
        note("no experiment matches")
    return found


def chosen_with_series(
    db: Database, selection: Selection, *, everything: bool = False
) -> tuple[list[ExperimentRow], list[SeriesRow]]:
    """As ``chosen``, with the series among the ids; filters, and saying nothing, are about experiments only."""
    if not selection.ids:
        return chosen(db, selection, everything=everything), []
    from wlmctl.store.finding import find_any
    from wlmctl.store.series import SeriesRow

    rows, many = dict[int, "ExperimentRow"](), dict[str, SeriesRow]()
    for text in selection.ids:
        found = find_any(db, text)
        if isinstance(found, SeriesRow):
            many[found.id] = found
        else:
            rows[found.seq] = found
    return list(rows.values()), list(many.values())
