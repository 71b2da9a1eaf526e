"""A group of commands of which some live elsewhere and are imported when they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class SpreadGroup(click.Group):
    """Its own subcommands and, by ``elsewhere`` (name to ``module:attribute``), those of other modules."""

    def __init__(self, *args: Any, elsewhere: Mapping[str, str], **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them."""
        return sorted([*super().list_commands(ctx), *self._elsewhere])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command, imported now."""
        if name not in self._elsewhere:
            return super().get_command(ctx, name)
        import importlib

        module, _, attribute = self._elsewhere[name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found
