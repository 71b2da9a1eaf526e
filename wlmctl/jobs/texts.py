"""The shell texts of batch systems, without their comments, and how values are put before them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from shlex import quote

_COMMON = Path(__file__).parent
_PLACES = (_COMMON / "queue", _COMMON)


@cache
def program(folder: Path, *names: str) -> str:
    """The texts ``<name>.sh`` of ``folder`` one after the other, or the common one where it has none of that name.

    Comment lines stay here, since texts travel with each job.
    """
    return "".join(_text(folder, name) for name in names)


def _text(folder: Path, name: str) -> str:
    path = next(path for place in (folder, *_PLACES) if (path := place / f"{name}.sh").exists())
    return re.sub(r"^\s*#.*\n|^\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def assignments(**values: str | int) -> str:
    """Lines that give shell variables these values."""
    return "".join(f"{name}={quote(str(value))}\n" for name, value in values.items())


def arguments(*values: str | int) -> str:
    """A line that makes these values ``$1``, ``$2`` and so on."""
    return f"set -- {' '.join(quote(str(value)) for value in values)}\n"


def wrapper(has_walltime: bool, is_packed: bool = False) -> str:
    """The text of the process that runs a job; watchdogs come with it only where there is something to watch."""
    watched = ("clock", "processes", "walltime") if has_walltime or is_packed else ()
    return program(_COMMON, *watched, "wrapper")
