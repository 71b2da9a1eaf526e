"""One login by ``ssh``: an SFTP session, and commands beside it, through one control socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wlmctl.errors import Broken, ConfigError, TransportError, TurnedAway, Unreachable
from wlmctl.machine import Machine
from wlmctl.transport import Completed
from wlmctl_transport_openssh import command
from wlmctl_transport_openssh.line import ProcessLine
from wlmctl_transport_openssh.refusals import is_dropped, refusal
from wlmctl_transport_openssh.way import environment, way_of

#: A path of a socket has at most 107 bytes, of which ssh wants 17 for itself while it makes one.
_LONGEST_FOLDER = 70
#: The code with which ssh ends where it could not log in.
_OF_SSH = 255


class SshLogin:
    """A login; ``line`` is its SFTP session.

    Where the user has logged in by hand and left a control socket, that login is used. Else the process of the
    session is the master of one in a private folder, and ends with it: nothing goes on after this process.
    """

    def __init__(self, machine: Machine, timeout_s: float, control_path: str | None) -> None:
        self.machine, self.timeout_s = machine.name, timeout_s
        self._running: set[subprocess.Popen[bytes]] = set()
        self._way = way_of(machine, timeout_s, control_path)
        self._folder = _private_folder(machine.name)
        try:
            keys = self._known_hosts(machine.host_keys)
            shared = self._shared()
            self._socket = str(shared or self._folder / "m")
            master = "no" if shared else "yes"
            self.line = ProcessLine(
                self._way.call(*keys, "-S", self._socket, f"-oControlMaster={master}", "-oControlPersist=no", "-s",
                               command=("sftp",)),
                self._folder / "said", machine.name, timeout_s,
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def run_script(self, script: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``script`` by ``sh`` and wait for its end; never by another login than this one."""
        return command.run(self._through, self.machine, script, stdin, timeout_s, self._running)

    def is_active(self) -> bool:
        """True while it is up, as far as this side knows."""
        return self.line.is_alive

    def close(self) -> None:
        """Log out, unless the login is the user's own; commands that other threads wait for break off."""
        for process in list(self._running):
            process.kill()
        self.line.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def refused(self, error: TransportError) -> TransportError:
        """Why the session did not come about, by what ``ssh`` has said; ``error`` is how that showed."""
        said = self.line.last_words()
        if said is None and isinstance(error.__cause__, Broken):
            return Unreachable(f"machine {self.machine}: {self._way.login}: no answer for {self.timeout_s:g} s")
        if said is not None and not said.strip() and self.line.exit_code != _OF_SSH:
            return TurnedAway(self.machine, "")  # what a host says beside its SFTP is not passed on
        if said is None or not said.strip():
            return error
        if is_dropped(said):
            return Broken(str(refusal(self._way, said)))
        return refusal(self._way, said)

    def _through(self, line: str) -> Sequence[str]:
        # Where the master is gone ssh would log in anew: a way that leads nowhere keeps it from that.
        return self._way.call("-S", self._socket, "-oControlMaster=no", "-oProxyCommand=false", command=(line,))

    def _shared(self) -> str | None:
        """The control socket of the user's own login, where there is one."""
        path = self._way.control_path
        if path is None or not os.path.exists(path):
            return None
        try:
            asked = subprocess.run(
                self._way.call("-S", path, "-Ocheck"), stdin=subprocess.DEVNULL, capture_output=True,
                env=environment(), timeout=self.timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
        return path if asked.returncode == 0 else None

    def _known_hosts(self, lines: Sequence[str]) -> Sequence[str]:
        """Have ``ssh`` trust what the deployment trusts, beside what the user's own files say."""
        if not lines:
            return ()
        file = self._folder / "known_hosts"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return (f"-oKnownHostsCommand={shutil.which('cat')} {file}",)


def _private_folder(machine: str) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="wlm-ssh-", dir=_short_folder()))
    except OSError as error:
        raise ConfigError(f"machine {machine}: no folder for the control socket of ssh: {error}") from error


def _short_folder() -> str:
    named = (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")
    return next((path for path in named if os.access(path, os.W_OK) and len(path) <= _LONGEST_FOLDER), "/tmp")
