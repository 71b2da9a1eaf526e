"""``wlmctl plugin``: which plugins are installed, where from, and why one cannot be used."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from wlmctl.cli import common
from wlmctl.errors import NotYet, UnknownPlugin
from wlmctl.plugins import installed
from wlmctl.plugins.index import PluginInfo
from wlmctl.suggest import did_you_mean


@click.group()
def plugin() -> None:
    """List and show plugins."""


@plugin.command("list")
@common.output_option
def list_(output: str) -> None:
    """List every installed plugin, the unusable ones too."""
    rows = installed()
    if output == "json":
        common.write_json({"plugins": [asdict(row) for row in rows]})
        return
    columns = ("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE")
    common.table(columns, [(r.kind, r.name, r.distribution, r.version, r.error or "ok") for r in rows])


@plugin.command()
@click.argument("name")
@common.output_option
def show(name: str, output: str) -> None:
    """Show the plugins of one name: NAME is such as sftp or transport_sftp."""
    rows = installed()
    found = [row for row in rows if name in (row.name, f"{row.kind}_{row.name}")]
    if not found:
        hint = did_you_mean(name, [text for row in rows for text in (row.name, f"{row.kind}_{row.name}")])
        raise UnknownPlugin(f"plugin {name!r}: no such plugin ({hint or 'see wlmctl plugin list'})")
    if output == "json":
        common.write_json({"plugins": [_details(row) for row in found]})
        return
    for number, row in enumerate(found):
        common.write("\n" if number else "")
        for key, value in _details(row).items():
            common.write(f"{key + ':':<14}{'-' if value is None else value}\n")


def _details(row: PluginInfo) -> dict[str, Any]:
    module = sys.modules.get(row.module)
    about = " ".join((getattr(module, "__doc__", None) or "").strip().partition("\n")[0].split())
    return {**asdict(row), "file": getattr(module, "__file__", None), "about": about or None}


@plugin.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def check() -> None:
    """Run the contract suites against a plugin (not yet)."""
    raise NotYet("plugin check")


@plugin.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def new() -> None:
    """Write the skeleton of a plugin (not yet)."""
    raise NotYet("plugin new")
