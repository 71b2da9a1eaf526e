"""``wlmctl db``: bring a store up to date, check it, copy it."""

from __future__ import annotations

from dataclasses import asdict

import click

from wlmctl.cli.common import configuration, note, output_option, write, write_json
from wlmctl.errors import ExitCode, UsageError
from wlmctl.text import counted


@click.group()
def db() -> None:
    """Look after the store."""


@db.command()
@output_option
@click.pass_context
def upgrade(ctx: click.Context, output: str) -> None:
    """Bring an older store up to date. Refused while a process works on it."""
    from wlmctl.store.copying import refuse_live
    from wlmctl.store.opening import open_configured
    from wlmctl.store.schema import SCHEMA_VERSION

    with open_configured(configuration(ctx), create=False, any_version=True) as store:
        before = store.schema_version()
        if before < SCHEMA_VERSION:
            refuse_live(store, "an upgrade", note)
            before = store.take_steps()
        store.refuse_version(store.schema_version())
        if output == "json":
            write_json({"store": store.name, "from": before, "to": SCHEMA_VERSION})
        elif before == SCHEMA_VERSION:
            write(f"{store.name}: version {SCHEMA_VERSION} already\n")
        else:
            write(f"{store.name}: version {before} to {SCHEMA_VERSION}\n")


@db.command(short_help="Check that the store is whole.")
@output_option
@click.pass_context
def check(ctx: click.Context, output: str) -> int:
    """Check that the store is whole: that each experiment's events tell its state. Ends with 1 when they do not."""
    from wlmctl.store.checking import check as check_store
    from wlmctl.store.opening import open_configured

    with open_configured(configuration(ctx), create=False) as store:
        version, findings = store.schema_version(), list(check_store(store))
        count = store.row("SELECT count(*) FROM experiments")[0]
    if output == "json":
        found = [asdict(finding) for finding in findings]
        write_json({"store": store.name, "schema_version": version, "experiments": count, "findings": found})
    else:
        for finding in findings:
            write(f"{finding.experiment or 'store'}: {finding.text}\n")
        found_text = f"{counted(count, 'experiment')}, {counted(len(findings), 'finding')}"
        write(f"{store.name}: version {version}, {found_text}\n")
    return ExitCode.FAILED if findings else ExitCode.DONE


@db.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@output_option
@click.pass_context
def copy(ctx: click.Context, source: str, target: str, output: str) -> None:
    """Copy the store SRC to DST, which must be empty or not there yet.

    Both are URLs of stores, of either kind; the copy has the same store id. Refused while a process works on SRC, and
    kept only when every row is the same on both sides.
    """
    from wlmctl.store.copying import copy_store, refuse_live
    from wlmctl.store.opening import open_database

    config = configuration(ctx)
    urls = [_url(text) for text in (source, target)]
    if urls[0] == urls[1]:
        raise UsageError(f"db copy: {urls[0]} twice, expected two stores")
    passwords = [getattr(url, "password", None) or config.store_login for url in urls]
    with open_database(urls[0], passwords[0], create=False) as old:
        refuse_live(old, "a copy", note)
        with open_database(urls[1], passwords[1]) as new:
            copied = copy_store(old, new, lambda table: note(f"{table.table}: {counted(table.rows, 'row')}, verified"))
            rows = sum(table.rows for table in copied)
            if output == "json":
                tables = [asdict(table) for table in copied]
                write_json({"from": old.name, "to": new.name, "store_id": new.store_id, "tables": tables})
            else:
                write(f"{old.name} to {new.name}: {len(copied)} tables, {rows} rows, all the same\n")


def _url(text: str) -> str:
    from pathlib import Path

    from wlmctl.config.urls import store_url, without_password

    try:
        return store_url(text, Path.cwd())
    except ValueError as error:
        raise UsageError(f"db copy: {without_password(text)!r}, expected {error}") from None
