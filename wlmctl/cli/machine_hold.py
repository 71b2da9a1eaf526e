"""``wlmctl machine hold`` and ``release``: a machine gets nothing for a while, over all processes of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import note, now_s, open_store, output_option, rfc3339, with_all_machines, write_json
from wlmctl.errors import StoreError, UsageError
from wlmctl.machine import LOCAL
from wlmctl.quantities import parse_duration
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.store.machines import Hold


class Until(click.ParamType[float]):
    """A time to come: with its offset as in ``2027-01-10T18:00:00Z``, or ``+2h`` from now; seconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        expected = 'a time to come, with its offset, such as 2027-01-10T18:00:00Z, or "+2h"'
        try:
            until_s = now_s() + parse_duration(value[1:]) if value.startswith("+") else _epoch_s(value)
        except (ValueError, OverflowError):
            until_s = 0.0
        if until_s <= now_s():
            self.fail(f"{value!r}, expected {expected}", param, ctx)
        return until_s


def _epoch_s(text: str) -> float:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError
    return time.timestamp()


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", default="", help="Why, for all who wait for it.")
@click.option("--until", "until_s", type=Until(), metavar="TIME|+2h", help="Release it then (default: by hand).")
@output_option
@click.pass_context
def hold(ctx: click.Context, names: Sequence[str], reason: str, until_s: float | None, output: str) -> None:
    """Hold machines: nothing new starts there, and nobody logs in to look at what runs there, which goes on.

    It counts for every `wlmctl run` and orchestrator of the store. Tasks keep their place and their retries, and are
    looked at when the machine is released: by `wlmctl machine release`, or at --until.
    """
    from wlmctl.runtime.submit import login_name
    from wlmctl.store import machines

    if any(not character.isprintable() for character in reason):
        raise UsageError("--reason: found a control character, expected one line of text")
    places = _places(ctx, names, "hold")
    with open_store(ctx, create=True) as db, db.transaction():
        held = [machines.hold_by_user(db, name, reason, now_s(), login_name(), until_s) for name in places]
    if output == "json":
        write_json({"machines": [{"name": each.machine, "held": held_as_json(each)} for each in held]})
        return
    for each in held:
        note(f"machine {each.machine} is held {shown(each.text)}")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@output_option
@click.pass_context
def release(ctx: click.Context, names: Sequence[str], output: str) -> None:
    """Release machines that somebody holds; one that does not answer is tried again now instead of later."""
    from wlmctl.store import machines

    places = _places(ctx, names, "release")
    with open_store(ctx) as db:
        with db.transaction():
            released = {name: machines.release_by_user(db, name) for name in places}
            probed = {name for name in places if machines.probe_now(db, name)}
        left = machines.holds(db)
    if output == "json":
        rows = [
            {"name": name, "released": released[name], "held": held_as_json(left[name]) if name in left else None}
            for name in places
        ]
        write_json({"machines": rows})
        return
    for name in places:
        if name in probed:
            note(f"machine {name} does not answer: whoever works tries it again now ({shown(left[name].text)})")
        else:
            note(f"machine {name} is {'released' if released[name] else 'not held'}")


def known_holds(ctx: click.Context) -> Mapping[str, Hold]:
    """The machines that are held, as far as the store can be read, for commands that can do without."""
    from wlmctl.store.machines import holds

    try:
        with open_store(ctx) as db:
            return holds(db)
    except StoreError as error:
        note(f"which machines are held is not known: {error}")
        return {}


def held_as_json(held: Hold) -> dict[str, Any]:
    """A hold as ``-o json`` shows it."""
    return {
        "reason": held.reason,
        "by": held.by,
        "since": rfc3339(held.since_s),
        "until": rfc3339(held.until_s),
        "probe_due": rfc3339(held.probe_due_s or None),
    }


def _places(ctx: click.Context, names: Sequence[str], what: str) -> list[str]:
    places = [machine.name for machine in with_all_machines(ctx).machines_of(names)]
    if LOCAL in places:
        raise UsageError(f"machine {what} {LOCAL}: each experiment has its own local; wlmctl pause ID holds one back")
    return places
