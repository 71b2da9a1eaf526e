"""``wlmctl completion``: the shell's completion script, and what it completes beyond commands and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete
from click.shell_completion import shell_complete as complete_with_click

if TYPE_CHECKING:
    from wlmctl.config import Config

_VARIABLE = "_WLMCTL_COMPLETE"
#: So many of the newest ids are offered.
_IDS = 200
_TASKS = 500


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash and zsh add to the shell's start file: eval "$(wlmctl completion bash)". For fish: wlmctl completion fish
    | source.
    """
    from wlmctl.cli.common import write
    from wlmctl.cli.main import cli

    write(_CLASSES[shell](cli, {}, "wlmctl", _VARIABLE).source())


def shell_complete(cli: click.Command, args: dict[str, Any], prog_name: str, variable: str, instruction: str) -> int:
    """Answer the completion script's question on stdout; the exit code."""
    for shell, kind in _CLASSES.items():
        # click looks its classes up by the shell's name
        click.shell_completion.add_completion_class(kind, shell)
    return complete_with_click(cli, args, prog_name, variable, instruction)


class _Completes(ShellComplete):
    """Click's completion, with the names that only the store, the configuration and the plugins know."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """What may stand for ``incomplete`` behind ``args``; nothing rather than an error."""
        try:
            named = self._named(args, incomplete)
        except Exception:  # a completion that fails must not print into the line that is being typed
            named = None
        if named is None:
            return super().get_completions(args, incomplete)
        return [CompletionItem(word) for word in named if word.startswith(incomplete)]

    def _named(self, args: list[str], incomplete: str) -> Iterable[str] | None:
        from click.shell_completion import _resolve_context, _resolve_incomplete

        ctx = _resolve_context(self.cli, self.ctx_args, self.prog_name, args)
        what, _ = _resolve_incomplete(ctx, args, incomplete)
        if not isinstance(what, click.Parameter):
            return None
        words = _words_of(ctx, what)
        return None if words is None else words(ctx)


class _Bash(_Completes, BashComplete):
    pass


class _Zsh(_Completes, ZshComplete):
    pass


class _Fish(_Completes, FishComplete):
    pass


_CLASSES: Mapping[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def _words_of(ctx: click.Context, parameter: click.Parameter) -> Callable[[click.Context], Iterable[str]] | None:
    """Where the words for a parameter come from, by its name and command."""
    name, command = parameter.name or "", ctx.info_name
    above = ctx.parent.info_name if ctx.parent else None
    if isinstance(parameter, click.Option):
        kind = {"scheduler": "scheduler", "types": "task"}.get(name)
        return (lambda _: _plugins(kind)) if kind is not None else None
    if above == "machine" or name in ("machine", "machines"):
        return _machines
    if above == "worker":
        return _workers
    if above == "plugin":
        return lambda _: _all_plugins()
    if name in ("selected_ids", "experiment", "identifier", "id", "ids"):
        return _ids
    if name in ("task", "tasks", "selector", "selectors"):
        return _tasks
    return _places if command == "copy" else None


def _config(ctx: click.Context) -> Config:
    """The settings, with the global options of the line that is being typed."""
    from wlmctl.config import load_config

    given = ctx.find_root().params
    options = {key: given.get(key) for key in ("store", "broker", "scheduler")}
    return load_config(given.get("config_file"), **options)


def _ids(ctx: click.Context) -> list[str]:
    from wlmctl.store.opening import open_configured

    with open_configured(_config(ctx), create=False) as db:
        rows = db.rows("SELECT id FROM series WHERE ended IS NULL ORDER BY created DESC")
        rows += db.rows(f"SELECT id FROM experiments ORDER BY seq DESC LIMIT {_IDS}")
        return [row[0] for row in rows]


def _tasks(ctx: click.Context) -> list[str]:
    from wlmctl.store import experiments
    from wlmctl.store.opening import open_configured

    values = [value for name, value in ctx.params.items() if name in ("experiment", "identifier", "id", "selected_ids")]
    first = next(filter(None, values))
    identifier = first if isinstance(first, str) else first[0]
    with open_configured(_config(ctx), create=False) as db:
        seq = experiments.find(db, identifier).seq
        rows = db.rows("SELECT name FROM tasks WHERE exp = ? ORDER BY idx LIMIT ?", (seq, _TASKS))
    names = [row[0] for row in rows]
    templates = [name.partition("[")[0] for name in names]
    # simulate[3] as simulate:3, which needs no quoting in a shell
    return list(dict.fromkeys([*templates, *(name.replace("[", ":").rstrip("]") for name in names)]))


def _workers(ctx: click.Context) -> list[str]:
    from wlmctl.store import workers
    from wlmctl.store.opening import open_configured

    with open_configured(_config(ctx), create=False) as db:
        return sorted({row.name for row in workers.live(db)})


def _machines(ctx: click.Context) -> list[str]:
    return list(_config(ctx).machines)


def _places(ctx: click.Context) -> list[str]:
    return [f"{name}:" for name in _config(ctx).machines]


def _plugins(kind: str) -> list[str]:
    from wlmctl.plugins import names

    return names(kind)


def _all_plugins() -> list[str]:
    from wlmctl.plugins import listed

    return [name for kind in ("transport", "scheduler", "task", "batch", "command") for name in listed(kind)]
