"""A queue of OpenPBS, Torque or LSF that runs jobs as processes of this host: commands on PATH, and their state."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.services.processes import send

_PROGRAM = Path(__file__).with_name("queue_program.py")
_COMMANDS = {
    "pbs": ("qsub", "qselect", "qstat", "qrls", "qdel", "pbsnodes"),
    "lsf": ("bsub", "bjobs", "bresume", "bkill", "lshosts"),
}


class FakeQueue:
    """The commands of ``dialect``, in the folder ``bin``; the jobs' words and states are in ``state.json``."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.folder, self.dialect = folder, dialect
        self.system = "lsf" if dialect == "lsf" else "pbs"
        (folder / "bin").mkdir(parents=True)
        (folder / "dialect").write_text(dialect)
        source = _PROGRAM.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable} -SE", 1)
        for name in _COMMANDS[self.system]:
            (folder / "bin" / name).write_text(source)
            (folder / "bin" / name).chmod(0o755)

    @property
    def environment(self) -> str:
        """Shell text that makes a login find the commands."""
        folder = shlex.quote(str(self.folder))
        return f"PATH={folder}/bin:$PATH; WLM_QUEUE={folder}; export PATH WLM_QUEUE; "

    def jobs(self, name: str | None = None) -> list[dict[str, Any]]:
        """Every job that was ever submitted, or those of one name."""
        path = self.folder / "state.json"
        known = json.loads(path.read_text()).values() if path.exists() else []
        return [job for job in known if name in (None, job["name"])]

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """``down``, ``cut`` or ``closed``, as long as the ``with`` lasts."""
        (self.folder / name).touch()
        try:
            yield
        finally:
            (self.folder / name).unlink()

    def close(self) -> None:
        """End all that it has started."""
        wanted, doomed = f"WLM_QUEUE={self.folder}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and int(entry.name) != os.getpid():
                    doomed.append(int(entry.name))
        send(doomed, signal.SIGKILL)
