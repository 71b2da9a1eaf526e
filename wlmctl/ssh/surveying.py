"""A survey beside other work: its first words tell that there is a shell, its end what that has."""

from __future__ import annotations

import threading

from wlmctl.errors import TurnedAway
from wlmctl.ssh.survey import GREETING, NO_TOOLS, SCRIPT, Survey, surveyed
from wlmctl.ssh.transport import SshTransport


class Surveying(threading.Thread):
    """A survey in a thread of its own, begun once ``is_due``, while its caller does something else with the login."""

    def __init__(self, ssh: SshTransport, is_due: threading.Event) -> None:
        super().__init__(daemon=True, name="survey")
        self._ssh, self._is_due = ssh, is_due
        self._is_settled = threading.Event()  # whether there is a shell
        self._has_shell = False
        self._found: Survey | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """In the thread."""
        self._is_due.wait()
        ssh = self._ssh
        try:
            self._found = surveyed(ssh, lambda: ssh.run_script(SCRIPT, timeout_s=ssh.timeout_s, heard=self._hear))
            self._has_shell = self._has_shell or self._found is not None
        except BaseException as error:
            self._error = error
        finally:
            self._is_settled.set()

    def has_shell(self) -> bool:
        """Wait until that is known."""
        self._is_settled.wait()
        if not self._has_shell:
            self._raise()
        return self._has_shell

    def tools(self) -> Survey:
        """Wait for the end: what the shell has."""
        self.join()
        self._raise()
        return self._found or NO_TOOLS

    def turned_away(self) -> TurnedAway | None:
        """Wait for the end: what the login has answered instead of running a command, if it did."""
        self.join()
        return self._error if isinstance(self._error, TurnedAway) else None

    def _hear(self, stdout: bytes) -> None:
        """The output so far: the mark, right behind it the greeting."""
        if not self._has_shell and f":{GREETING}\n".encode() in stdout:
            self._has_shell = True
            self._is_settled.set()

    def _raise(self) -> None:
        if self._error is not None and not isinstance(self._error, TurnedAway):
            raise self._error
