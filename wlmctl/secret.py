"""The value of a secret that the configuration only refers to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from wlmctl.errors import ConfigError
from wlmctl.machine import Reference

_COMMAND_TIMEOUT_S = 60.0

#: The values of variables that are secrets and stand in the environment no longer.
_taken: dict[str, str] = {}


def take(references: Iterable[Reference]) -> None:
    """Take the variables among these out of the environment, so that no process started from here has them.

    A job that prints its environment would else have them in its log, and so in messages and the store.
    """
    for reference in references:
        if reference.kind == "env" and reference.value in os.environ:
            _taken[reference.value] = os.environ.pop(reference.value)


def reveal(reference: Reference, what: str) -> str:
    """The first line of what ``reference`` names; ``ConfigError``, which never holds it, says why there is none."""
    match reference.kind:
        case "env":
            text = os.environ.get(reference.value, _taken.get(reference.value))
            if text is None:
                raise ConfigError(f"{what}: the environment variable {reference.value} is not set")
        case "file":
            try:
                text = Path(reference.value).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{what}: {reference.value} cannot be read: {error}") from error
        case "command":
            text = _output(reference.value, what)
        case _:
            raise ConfigError(f"{what}: {reference.kind!r}, expected env, file or command")
    return text.partition("\n")[0].rstrip("\r")


def _output(command: str, what: str) -> str:
    import subprocess  # which few commands need

    try:
        done = subprocess.run(  # the user's own configuration names the command
            command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{what}: the command {command!r} does not end") from error
    if done.returncode != 0:
        raise ConfigError(f"{what}: the command {command!r} ends with code {done.returncode}")
    return done.stdout.decode("utf-8", "replace")
