"""``wlmctl queue``: what is in the broker's queues, and what to do about it."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import configuration, note, open_store, output_option, table, write, write_json
from wlmctl.errors import ExitCode, NoSuch, UsageError
from wlmctl.text import counted

if TYPE_CHECKING:
    from wlmctl.broker.contract import Delivery
    from wlmctl.config import Config

#: The most characters of a body that are shown to people.
_SHOWN = 80


@click.group()
def queue() -> None:
    """Look after the queues at the broker."""


@queue.command("list", short_help="List the queues, how full they are, and how many consume them.")
@output_option
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """List the queues, with the messages that wait in them and how many consume them."""
    from wlmctl.runtime.queues import connected, states

    config = configuration(ctx)
    with connected(config) as broker:
        found = states(broker, _names(ctx, config))
    if output == "json":
        write_json({"queues": [asdict(each) for each in found]})
        return
    table(
        ("QUEUE", "READY", "CONSUMERS", "WORKER"),
        [(each.name, each.ready, each.consumers, each.worker) for each in found],
    )


@queue.command(short_help="Show the dead letters, with the reason.")
@output_option
@click.pass_context
def dead(ctx: click.Context, output: str) -> None:
    """Show the dead letters, with the reason and the queue each came from; they stay where they are."""
    from wlmctl.runtime.queues import connected, dead_letters

    config = configuration(ctx)
    with connected(config) as broker:
        letters = dead_letters(broker, config.prefix)
    if output == "json":
        write_json({"dead": [_as_json(letter) for letter in letters]})
        return
    for letter in letters:
        write(f"{letter.origin or 'of an unknown queue'}: {letter.reason or 'no reason given'}\n")
        write(f"  {len(letter.body)} bytes: {_text(letter.body)[:_SHOWN]}\n")
    if not letters:
        note("there are no dead letters")


@queue.command(short_help="Put the dead letters back into their queues.")
@output_option
@click.pass_context
def requeue(ctx: click.Context, output: str) -> int:
    """Put the dead letters back into the queues they came from. Ends with 1 when some stay."""
    from wlmctl.runtime import queues

    config = configuration(ctx)
    with queues.connected(config) as broker:
        found = list(queues.requeue(broker, config.prefix))
    stay = [each for each in found if each.problem]
    if output == "json":
        told = [{"origin": each.letter.origin or None, "problem": each.problem or None} for each in found]
        write_json({"requeued": told})
    else:
        for each in stay:
            write(f"stays a dead letter: {each.problem}\n")
        write(f"{counted(len(found) - len(stay), 'message')} put back\n")
    return ExitCode.FAILED if stay else ExitCode.DONE


@queue.command(short_help="Empty queues, or delete those of gone workers.")
@click.argument("names", metavar="[QUEUE]...", nargs=-1)
@click.option("--stale", is_flag=True, help="Delete the queues of workers that are gone.")
@output_option
@click.pass_context
def purge(ctx: click.Context, names: tuple[str, ...], stale: bool, output: str) -> None:
    """Throw away the messages that wait in queues; or with --stale delete the queues of workers that are gone.

    No task is lost: the orchestrator sends again what it misses, though steps may be executed once more.
    """
    if bool(names) == stale:
        raise UsageError("queue purge: expected the names of queues, or --stale (see: wlmctl queue list)")
    from wlmctl.runtime.queues import PATIENCE_S, connected, queues_of

    config = configuration(ctx)
    known: list[str] = []
    deleted: list[str] = []
    with connected(config) as broker:
        for name in names:
            found = next((each for each in (name, f"{config.prefix}.{name}") if broker.probe(each) is not None), None)
            if found is None:  # before anything is thrown away
                raise NoSuch(f"no queue {name!r}, nothing is thrown away (see: wlmctl queue list)")
            known.append(found)
        emptied = {name: broker.purge(name, PATIENCE_S) for name in dict.fromkeys(known)}
        if stale:
            own = [each for worker in _gone_workers(ctx) for each in queues_of(config.prefix, worker)]
            deleted = [each for each in own if broker.delete(each, PATIENCE_S)]
    if output == "json":
        told = [{"name": name, "messages": count} for name, count in emptied.items()]
        write_json({"emptied": told, "deleted": deleted})
        return
    for name, count in emptied.items():
        write(f"{name}: {counted(count, 'message')} thrown away\n")
    for name in deleted:
        write(f"{name}: deleted\n")
    if stale and not deleted:
        note("there are no stale queues")


def _names(ctx: click.Context, config: Config) -> dict[str, str | None]:
    """The queues that there may be: of the task types installed here or told by workers, and of all workers."""
    from wlmctl import plugins
    from wlmctl.runtime.queues import names
    from wlmctl.store import workers

    with open_store(ctx) as db:
        rows = workers.rows(db)
    types = {*plugins.names("task")}.union(*(row.details.get("types", ()) for row in rows))
    return names(config.prefix, sorted(types), [row.id for row in rows])


def _gone_workers(ctx: click.Context) -> list[str]:
    from wlmctl.store import workers

    with open_store(ctx) as db:
        return [row.id for row in workers.rows(db) if not row.is_live]


def _as_json(letter: Delivery) -> dict[str, Any]:
    try:
        body: Any = letter.body.decode("utf-8")
    except UnicodeDecodeError:
        body = {"b64": base64.b64encode(letter.body).decode("ascii")}
    return {
        "origin": letter.origin or None,
        "reason": letter.reason or None,
        "size_bytes": len(letter.body),
        "body": body,
    }


def _text(body: bytes) -> str:
    from wlmctl.text import shown

    return shown(body.decode("utf-8", "surrogateescape"))
