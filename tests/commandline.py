"""The installed command line as processes of their own, in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WLMCTL = (sys.executable, "-m", "wlmctl")


class CommandLine:
    """Runs ``wlmctl`` in ``folder`` with a store of its own; what still runs is ended by ``close``."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None, *, store_url: str | None = None) -> None:
        self.folder = folder
        self.store = folder / "store" / "wlmctl.db"
        self.environ = {**os.environ, "WLMCTL_STORE": store_url or f"sqlite:///{self.store}", **(environ or {})}
        self._started: list[subprocess.Popen[str]] = []

    def write(self, name: str, text: str) -> str:
        """A file in the folder; returns its name."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def run(
        self, *args: str, code: int | None = 0, stdin: str = "", timeout_s: float = 200
    ) -> subprocess.CompletedProcess[str]:
        """The command to its end; fails unless it exits with ``code`` (None: any)."""
        done = subprocess.run(
            [*WLMCTL, *args], cwd=self.folder, env=self.environ, input=stdin, text=True, capture_output=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, (
            f"wlmctl {' '.join(args)} exited with {done.returncode}, expected {code}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def json(self, *args: str, code: int | None = 0) -> Any:
        """What the command says with ``-o json``."""
        return json.loads(self.run(*args, "-o", "json", code=code).stdout)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """The command in the background, in a session of its own; its output is in ``folder``/started-N.*."""
        number = len(self._started)
        with (
            (self.folder / f"started-{number}.out").open("w") as out,
            (self.folder / f"started-{number}.err").open("w") as err,
        ):
            process = subprocess.Popen(
                [*WLMCTL, *args], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                text=True, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        """What a started command has written to stderr so far."""
        return (self.folder / f"started-{self._started.index(process)}.err").read_text()

    def tasks(self, experiment: str) -> dict[str, dict[str, Any]]:
        """The tasks of an experiment by name, as ``status`` tells them."""
        (found,) = self.json("status", experiment)["experiments"]
        return {task["id"]: task for task in found["tasks"]}

    def state(self, experiment: str) -> str:
        """The experiment's state."""
        (found,) = self.json("status", experiment)["experiments"]
        return str(found["state"])

    def ids(self) -> list[str]:
        """The ids of all experiments, newest first."""
        done = self.run("status", "-q", code=None)
        assert done.returncode == 0 or "there is no " in done.stderr, done.stderr
        return done.stdout.split()

    def close(self) -> None:
        """End what was started and still runs."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
