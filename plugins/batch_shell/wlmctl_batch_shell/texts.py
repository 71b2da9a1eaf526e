"""The shell texts of this package, without their comments, and how values are put before them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from shlex import quote


@cache
def program(*names: str) -> str:
    """The texts ``<name>.sh`` one after the other; comment lines stay here, since texts travel with each job."""
    folder = Path(__file__).parent
    return "".join(
        re.sub(r"^\s*#.*\n|^\n", "", (folder / f"{name}.sh").read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name in names
    )


def assignments(**values: str | int) -> str:
    """Lines that give shell variables these values."""
    return "".join(f"{name}={quote(str(value))}\n" for name, value in values.items())


def arguments(*values: str | int) -> str:
    """A line that makes these values ``$1``, ``$2`` and so on."""
    return f"set -- {' '.join(quote(str(value)) for value in values)}\n"


def wrapper(has_walltime: bool) -> str:
    """The text of the process that runs a job; the watchdog comes with it only where there is a walltime."""
    return program("processes", "walltime", "wrapper") if has_walltime else program("wrapper")
