"""Running a command to its end, and what it took: time, processor time, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What one command took, with the processes it waited for. ``peak_bytes`` is that of the largest process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def wlmctl() -> list[str]:
    """The installed command of this interpreter's environment."""
    script = Path(sys.executable).with_name("wlmctl")
    return [str(script)] if script.exists() else [sys.executable, "-m", "wlmctl"]


def take(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, *, stdin: bytes = b"") -> Taken:
    """Run ``argv`` in ``folder``; ``SystemExit`` with what it said when it does not end with 0."""
    (folder / ".stdin").write_bytes(stdin)
    with open(folder / ".stdin", "rb") as given, open(folder / ".stdout", "w+b") as out:
        start_s = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=folder, env={**os.environ, **(env or {})}, stdin=given, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start_s
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            out.seek(0)
            text = out.read()[-2000:].decode("utf-8", "replace")
            raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}:\n{text}")
    return Taken(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def compile_once(folder: Path) -> None:
    """Compile what wlmctl needs into ``folder``, where Python looks for it from now on.

    So the program is compiled, as it is where it was installed, and the checkout stays as it is.
    """
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    project = Path(__file__).parent.parent
    take([sys.executable, "-m", "compileall", "-q", str(project / "wlmctl"), str(project / "plugins")], folder)
    take([sys.executable, "-c", "import click, msgspec, paramiko, pluggy, rich.console, sqlite3, yaml"], folder)
