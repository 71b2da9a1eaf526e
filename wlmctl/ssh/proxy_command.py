"""A connection through the process of a ``ProxyCommand``."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess

from wlmctl.errors import Unreachable


class ProxySocket(socket.socket):
    """One end of a socket pair whose other end is the command's stdin and stdout; closing it ends the command."""

    def __init__(self, command: str, what: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # "exec": the shell becomes the command, so that its end is the command's end.
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {command}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise Unreachable(f"{what}: ProxyCommand {command!r}: {error.strerror}") from error
        super().__init__(fileno=ours.detach())

    def close(self) -> None:
        """Close the connection and end the command with all that it started."""
        super().close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
