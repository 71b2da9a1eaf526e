"""``wlmctl machine``: the machines of the configuration, whether they work, and whether their host keys are trusted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from wlmctl.cli.common import note, open_store, output_option, table, with_all_machines, write, write_json
from wlmctl.cli.groups import SpreadGroup
from wlmctl.errors import ExitCode, Unreachable, WlmctlError
from wlmctl.machine import Machine, Reference
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.connections import ConnectionPool
    from wlmctl.machine_check import Check
    from wlmctl.store.database import Database


@click.group(
    cls=SpreadGroup,
    elsewhere={
        "clean": "wlmctl.cli.clean:machine_clean",
        "hold": "wlmctl.cli.machine_hold:hold",
        "release": "wlmctl.cli.machine_hold:release",
        "trust": "wlmctl.cli.machine_trust:trust",
    },
)
def machine() -> None:
    """List, test, trust and hold the machines of the configuration."""


@machine.command("list")
@output_option
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """List the machines, with those that are held; contacts none of them."""
    from wlmctl.cli.machine_hold import held_as_json, known_holds

    machines = [place for _, place in sorted(with_all_machines(ctx).machines.items())]
    held = known_holds(ctx)
    if output == "json":
        rows = [(place, held_as_json(held[place.name]) if place.name in held else None) for place in machines]
        write_json({"machines": [{**_settings(place), "held": hold} for place, hold in rows]})
        return
    lines = [
        (place.name, _where(place), place.transport, place.batch, ",".join(place.labels) or None,
         shown(held[place.name].text.partition("\n")[0]) if place.name in held else None)
        for place in machines
    ]  # fmt: skip
    table(("NAME", "LOGIN", "TRANSPORT", "BATCH", "LABELS", "HELD"), lines)


@machine.command()
@click.argument("name")
@output_option
@click.pass_context
def show(ctx: click.Context, name: str, output: str) -> int:
    """Show a machine's settings, and the host keys that it and its jump hosts show now."""
    place = with_all_machines(ctx).machine(name)
    keys, problem = _host_keys(place)
    if output == "json":
        write_json({"machine": _settings(place), "host_keys": keys, "problem": problem})
    else:
        settings = _settings(place)
        for key, value in settings.items():
            write(f"{key + ':':<22}{_text(value)}\n")
        for seen in keys:
            write(f"{'host key:':<22}{seen['login']} {seen['type']} {seen['fingerprint']} ({seen['trust']})\n")
        if problem:
            note(problem)
    return ExitCode.UNREACHABLE if problem else ExitCode.DONE


@machine.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--speed", is_flag=True, help="Also measure how fast it is, and say what limits it; takes some seconds.")
@output_option
@click.pass_context
def test(ctx: click.Context, names: Sequence[str], speed: bool, output: str) -> int:
    """Check each part of machines: name, TCP, key, login, shell, SFTP, SCP, scratch, batch system, clock, orphans.

    Of a group each of its machines is checked, of a cluster each login node.

    With --speed also the round trip, large files up and down, sha256 there, small files and commands a second.
    """
    from wlmctl.cli.machine_speed import speed_json, tell_speed
    from wlmctl.machine_check import Check, failed
    from wlmctl.machine_speed import Speed, measure
    from wlmctl.runtime.reach import connections
    from wlmctl.worker.places import resolve_scratch

    config = with_all_machines(ctx)
    found: list[tuple[Machine, list[Check]]] = []
    speeds: dict[int, Speed] = {}
    with open_store(ctx) as db, connections(config) as pool:
        for node, title in _titled_nodes(config.machines_of(names)):
            checks: list[Check] = []
            for check in _checks(node, pool, db):
                checks.append(check)
                if output != "json":
                    _tell(title, check)
            found.append((node, checks))
            if not speed or any(check.state in ("unreachable", "problem") for check in checks):
                continue
            if any((check.part, check.state) == ("scratch", "skipped") for check in checks):
                checks.append(Check("speed", "skipped", "nothing can be written there"))
                if output != "json":
                    _tell(title, checks[-1])
                continue
            pool.close_all()  # so that a login is measured, too
            try:
                speeds[len(found)] = measure(node, pool, resolve_scratch)
            except WlmctlError as error:
                checks.append(failed("speed", node, error))
                if output != "json":
                    _tell(title, checks[-1])
            else:
                if output != "json":
                    tell_speed(title, speeds[len(found)])
    if output == "json":
        rows = [
            {"name": node.name, "host": node.host, "checks": list(map(_as_json, checks)),
             **speed_json(speeds.get(number))}
            for number, (node, checks) in enumerate(found, 1)
        ]  # fmt: skip
        write_json({"machines": rows})
    states = {check.state for _, checks in found for check in checks}
    if "unreachable" in states:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if "problem" in states else ExitCode.DONE


def _titled_nodes(places: Sequence[Machine]) -> Iterator[tuple[Machine, str]]:
    """Each login node of the machines, with what it is called."""
    for place in places:
        for node in place.nodes:
            yield node, f"{node.name} ({node.host})" if place.logins else node.name


def _checks(node: Machine, pool: ConnectionPool, db: Database) -> Iterator[Check]:
    """All parts and, where these are well, what was left there."""
    from wlmctl.machine_check import check_machine
    from wlmctl.runtime import orphans
    from wlmctl.worker.places import resolve_scratch

    is_well = True
    for check in check_machine(node, pool, resolve_scratch):
        is_well = is_well and check.state not in ("unreachable", "problem")
        yield check
    if is_well:
        yield orphans.check(node, pool, db, now_s=time.time())


def _host_keys(place: Machine) -> tuple[list[dict[str, str]], str]:
    """What the hosts on the way show, as far as they can be reached, and why not farther."""
    found: list[dict[str, str]] = []
    if place.host is None:
        return found, ""
    from wlmctl.ssh import connection

    problems = []
    for node in place.nodes:
        try:
            for hop, login in enumerate(connection.hops(node)):
                key, verdict = connection.scan_host_key(node, hop)
                seen = {"login": str(login), "type": key.kind, "fingerprint": key.fingerprint, "trust": verdict.value}
                if seen not in found:
                    found.append(seen)
        except Unreachable as error:
            problems.append(str(error))
    return found, "; ".join(problems)


def _where(place: Machine) -> str:
    if place.is_local:
        return "this host"
    from wlmctl.ssh import resolved_login

    try:
        return ", ".join(resolved_login(node) for node in place.nodes)
    except WlmctlError as error:
        return str(error)


def _settings(place: Machine) -> dict[str, Any]:
    """The settings as plain values; a secret shows only where it is kept."""
    shown: dict[str, Any] = {}
    for field in fields(place):
        if field.name == "host_keys":  # no setting: a task context has them
            continue
        value = getattr(place, field.name)
        if isinstance(value, Reference):
            value = {value.kind: value.value}
        shown[field.name] = (
            list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
        )
    return {**shown, "login": _where(place)}


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tell(name: str, check: Check) -> None:
    hint = f"  -> {check.hint}" if check.hint else ""
    write(f"{name}  {check.part:<11} {check.state:<12} {check.text}{hint}\n", flush=True)


def _as_json(check: Check) -> dict[str, str]:
    return {"part": check.part, "state": check.state, "text": check.text, "hint": check.hint}
