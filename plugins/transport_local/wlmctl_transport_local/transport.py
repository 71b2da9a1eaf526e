"""This host with its shell: commands that are waited for, and processes that are not."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from wlmctl.errors import Broken
from wlmctl.transport import Completed
from wlmctl_transport_local.faults import told
from wlmctl_transport_local.files import LocalFiles

#: A call to ``spawn`` looks whether this many of the processes started before can be reaped.
_REAPED_A_CALL = 8
_SETTABLE_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_spawned: deque[int] = deque()
_reaping = threading.Lock()


class LocalTransport(LocalFiles):
    """This host, with ``run`` and ``spawn``."""

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``command`` by ``sh`` in a session of its own; at the time-out the whole group is killed."""
        home = self.home()
        with told("sh"):
            process = subprocess.Popen(
                ["sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=own_environment(),
                cwd=home if os.path.isdir(home) else "/",
                start_new_session=True,
            )
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout_s)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Broken(f"the command did not end within {timeout_s:g} s and was killed") from error
                raise
        code = process.returncode
        return Completed(128 - code if code < 0 else code, stdout, stderr)

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], folder: str, stdout: str, stderr: str) -> int:
        """Start ``argv`` in a session of its own, in ``folder``, with exactly ``env``; returns its pid."""
        _reap_some()
        create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        argv = _started_in(folder, argv)
        with told(argv[0]):
            pid = os.posix_spawnp(
                argv[0],
                argv,
                env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, stdout, create, 0o600),
                    (os.POSIX_SPAWN_OPEN, 2, stderr, create, 0o600),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_SETTABLE_SIGNALS,
            )
        with _reaping:
            _spawned.append(pid)
        return pid


def own_environment() -> dict[str, str]:
    """This process's environment less ``WLMCTL_*``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WLMCTL_")}


def _started_in(folder: str, argv: Sequence[str]) -> list[str]:
    """``argv`` with the change of folder in it, since posix_spawn has none; costs no process, for ``sh -c`` no exec."""
    if not folder:
        return list(argv)
    if len(argv) > 2 and argv[0] in ("sh", "/bin/sh") and argv[1] == "-c":
        return [*argv[:2], f"cd -- {shlex.quote(folder)} || exit 126\n{argv[2]}", *argv[3:]]
    return ["sh", "-c", 'cd -- "$0" || exit 126; exec "$@"', folder, *argv]


def _reap_some() -> None:
    """Take the ends of a few spawned processes, so that none stays a zombie while this process lives."""
    with _reaping:
        for _ in range(min(_REAPED_A_CALL, len(_spawned))):
            pid = _spawned.popleft()
            with suppress(ChildProcessError):  # somebody else has waited for it
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    _spawned.append(pid)
