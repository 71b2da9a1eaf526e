"""``wlmctl machine trust``: a host key accepted, here and, on a fleet, for all its workers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from wlmctl.cli.common import configuration, note, open_store, with_all_machines, write
from wlmctl.errors import ExitCode, StoreError, Unusable

if TYPE_CHECKING:
    from wlmctl.machine import Machine


@click.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask: the fingerprints are known to be right.")
@click.pass_context
def trust(ctx: click.Context, name: str, yes: bool) -> int:
    """Show the host key of a machine (and of its jump hosts and login nodes), and after a yes store it in known_hosts.

    On a fleet it goes into the store too, so that each worker trusts it.
    """
    from wlmctl.ssh import connection
    from wlmctl.ssh.known_hosts import Trust, line_of

    place = with_all_machines(ctx).machine(name)
    if place.host is None:
        write(f"{place.name}: has no host, there is nothing to trust\n")
        return ExitCode.DONE
    lines = []
    hops = {login: (node, hop) for node in place.nodes for hop, login in enumerate(connection.hops(node))}
    for login, (node, hop) in hops.items():
        key, verdict = connection.scan_host_key(node, hop)
        shown = f"{login}: {key.kind} {key.fingerprint}"
        lines.append(line_of(login.known_names[0], key))
        if verdict is Trust.TRUSTED:
            write(f"{shown}: already trusted\n")
            continue
        if verdict is Trust.REVOKED:
            raise Unusable(f"{shown}: a known_hosts file says that this key is revoked")
        if verdict is Trust.CHANGED:
            note(f"{login}: THE KEY IS NOT THE ONE THAT IS TRUSTED; accept it only if you know why it has changed")
        if not yes and not _confirmed(shown):
            note("not trusted; nothing was stored")
            return ExitCode.FAILED
        write(f"{shown}: stored in {connection.trust(node, key, hop)}\n")
    _tell_workers(ctx, place, lines)
    return ExitCode.DONE


def _tell_workers(ctx: click.Context, place: Machine, lines: list[str]) -> None:
    """Where there is a fleet, put the keys into the store: the task contexts carry them."""
    from wlmctl.store import host_keys, inventory

    config = configuration(ctx)
    try:
        with open_store(ctx, create=config.is_fleet) as db:
            if not config.is_fleet and place.name not in (inventory.get(db) or {}):
                return
            if set(lines) <= set(host_keys.get(db).get(place.name, ())):
                return
            with db.transaction():
                host_keys.put(db, place.name, lines)
    except StoreError:
        if config.is_fleet:
            raise
        return  # known_hosts is all that is needed here
    write(f"{place.name}: stored for the workers in {config.store}\n")


def _confirmed(shown: str) -> bool:
    if not sys.stdin.isatty():
        note(f"{shown}: compare the fingerprint, then say yes by: --yes")
        return False
    return click.confirm(f"{shown}\nIs this the right fingerprint?", err=True)
