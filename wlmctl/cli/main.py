"""The command ``wlmctl``: global options, lazily imported commands, and what each ending does to the exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from wlmctl import __version__
from wlmctl.cli.commands import COMMANDS, RESERVED
from wlmctl.cli.streams import ClosedPipe, guard

#: As ``wlmctl.errors.ExitCode`` has them; that module is not imported for ``--help``.
USAGE, INTERRUPTED, CLOSED_PIPE, TERMINATED = 2, 130, 141, 143


class CommandGroup(click.Group):
    """The top of the command line: imports only the command that runs, and maps every ending to its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The built-in commands, then those of plugins."""
        return [*COMMANDS, *(name for name in plugin_commands() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            import importlib

            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        if name in RESERVED:
            return reserved(name)
        if name in plugin_commands():
            from wlmctl.plugins import command as plugin_command

            found = plugin_command(name)
            return found if isinstance(found, click.Command) else click.command(name)(found)
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, with a suggestion for a name that is slightly wrong."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from wlmctl.suggest import did_you_mean

            hint = did_you_mean(args[0], self.list_commands(ctx))
            ctx.fail(f"no such command {args[0]!r}" + (f" ({hint})" if hint else ""))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table of commands, from their lines alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])
        added = [name for name in plugin_commands() if name not in COMMANDS]
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"Added by a plugin: wlmctl {name} --help.") for name in added])
        with formatter.section("Not yet"):
            formatter.write_text(", ".join(RESERVED))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> Any:
        """Run one command line and end the process with the code that CONTRACTS 4.3 gives to its ending."""
        extra = {name: value for name, value in extra.items() if name not in ("standalone_mode", "complete_var")}
        sys.exit(self._run(sys.argv[1:] if args is None else list(args), prog_name or "wlmctl", extra))

    def _run(self, args: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        try:
            code = self._invoke(args, prog_name, extra)
            sys.stdout.flush()
            return code
        except (ClosedPipe, BrokenPipeError):
            return CLOSED_PIPE
        except Terminated:
            return TERMINATED
        except (KeyboardInterrupt, EOFError, click.Abort):
            return say("wlmctl: interrupted", INTERRUPTED)
        except Exception as error:
            return tell(error)

    def _invoke(self, args: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        instruction = os.environ.get("_WLMCTL_COMPLETE")
        if instruction:
            from wlmctl.cli.completion import shell_complete

            return shell_complete(self, extra, prog_name, "_WLMCTL_COMPLETE", instruction)
        try:
            with self.make_context(prog_name, args, **extra) as ctx:
                result = self.invoke(ctx)
                return result if isinstance(result, int) else 0
        except click.exceptions.Exit as ending:
            return ending.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            return say(error.format_message(), USAGE)
        except click.ClickException as error:
            path = getattr(getattr(error, "ctx", None), "command_path", prog_name)
            text = " ".join(error.format_message().split()).rstrip(".")
            return say(f"{path}: {text} (see: {path} --help)", USAGE)
        except SystemExit as ending:
            return _code_of(ending)


class Terminated(BaseException):
    """SIGTERM came, and the command has no ending of its own for it."""


def say(text: str, code: int) -> int:
    """Tell the user on stderr, if anybody listens, and give ``code`` back."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        click.echo(text, err=True)
    return code


def tell(error: Exception) -> int:
    """Tell the user's mistake or a fault in one line, a file's mistakes in one line each, a bug with its traceback."""
    from wlmctl.errors import ExitCode, InvalidFile, WlmctlError

    if isinstance(error, InvalidFile):
        return say(str(error), error.exit_code)
    if isinstance(error, WlmctlError):
        return say(f"wlmctl: {error}", error.exit_code)
    import traceback

    say("".join(traceback.format_exception(error)).rstrip(), ExitCode.BUG)
    return say("wlmctl: this is a bug in wlmctl, or in a plugin", ExitCode.BUG)


def reserved(name: str) -> click.Command:
    """A command of later work: it refuses, whatever its arguments."""

    @click.pass_context
    def refuse(ctx: click.Context, /, **_: object) -> None:
        from wlmctl.errors import NotYet

        raise NotYet(ctx.command_path.removeprefix("wlmctl "))

    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}
    anything = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(name, callback=refuse, params=[anything], add_help_option=False, context_settings=settings)


def plugin_commands() -> list[str]:
    """The commands that plugins add, by their entry points: none is imported."""
    from wlmctl.plugins import command_names

    return command_names()


def _code_of(ending: SystemExit) -> int:
    if ending.code is None:
        return 0
    return ending.code if isinstance(ending.code, int) else say(str(ending.code), USAGE)


@click.group("wlmctl", cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", metavar="FILE", help="Read this configuration file only.  [WLMCTL_CONFIG]")
@click.option("--store", metavar="URL", help="The store, such as sqlite:///wlmctl.db.  [WLMCTL_STORE]")
@click.option("--broker", metavar="URL", help="The broker, such as memory://.  [WLMCTL_BROKER]")
@click.option("--scheduler", metavar="NAME", help="The scheduler.  [WLMCTL_SCHEDULER]")
@click.option("-v", "--verbose", count=True, help="Tell more on stderr; twice: everything.")
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Run scientific experiments on machines that other people own: one file, one command."""
    from wlmctl.cli.common import Invocation

    if callable(ctx.obj):
        ctx.obj()
    ctx.obj = Invocation(**options)
    ctx.obj.start_logging()


def main() -> NoReturn:
    """The console script."""
    guard()
    cli.main(prog_name="wlmctl", obj=_end_on_sigterm)
    raise AssertionError("cli.main ends the process")


def _end_on_sigterm() -> None:
    """Done once a command runs: ``--help`` needs no handler, whose module costs as much as a small command."""
    import signal

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
