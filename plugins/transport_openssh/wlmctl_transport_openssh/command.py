"""One command through a login that is open: fed, drained and awaited without a deadlock or a hang."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from wlmctl.errors import Broken, TurnedAway
from wlmctl.ssh.quoting import for_login_shell, quote
from wlmctl.ssh.shell import what_it_says
from wlmctl.transport import Completed
from wlmctl_transport_openssh.way import environment

_PIECE_BYTES = 64 * 1024
#: How long output may stay open after the end, since something the command left behind holds it.
_LINGER_S = 2.0
#: How often it is looked whether the process still runs.
_LOOK_S = 0.2


def run(
    call: Callable[[str], Sequence[str]],
    machine: str,
    script: str,
    stdin: bytes,
    timeout_s: float | None,
    running: set[subprocess.Popen[bytes]],
) -> Completed:
    """Run ``script`` by ``sh``; ``call`` gives the words that start a command line of the login shell.

    Its process is among those ``running`` meanwhile: who kills it breaks the command off.

    Two marks part its output from what start-up files print, and tell its exit code: that of ``ssh`` itself may be
    its own, and says nothing of a signal.
    """
    mark = f"wlm-{secrets.token_hex(8)}"
    outer = f"printf %s {mark}:; printf %s {mark}: >&2\nsh -c {quote(script)}\nprintf '%s=%d;' {mark} $? >&2"
    with subprocess.Popen(
        call(for_login_shell(outer)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), start_new_session=True,
    ) as process:  # fmt: skip
        running.add(process)
        try:
            conversation = _Conversation(process, stdin, re.compile(rb"%s=(\d+);" % mark.encode()))
            conversation.hold(machine, timeout_s)
        finally:
            running.discard(process)
            process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
    begin = f"{mark}:".encode()
    error = bytes(conversation.error)
    if conversation.exit_code is None:
        # ssh itself ends with 255, whatever keeps it from the host; another code is that of what answered there.
        if begin not in error and process.returncode not in (255, -signal.SIGKILL):
            raise TurnedAway(machine, what_it_says(error + b"\n" + conversation.output))
        what = "the connection broke during a command" if begin in error else "no command can be run"
        said = " ".join(error.decode("utf-8", "replace").split())
        raise Broken(f"machine {machine}: {what}" + (f": {said}" if begin not in error and said else ""))
    error = error.rpartition(f"{mark}=".encode())[0]
    return Completed(conversation.exit_code, _after(bytes(conversation.output), begin), _after(error, begin))


def _after(output: bytes, mark: bytes) -> bytes:
    _, found, rest = output.partition(mark)
    return rest if found else output


class _Conversation:
    """The three pipes of a process until it has said its end, or they have ended."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, end: re.Pattern[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._pending, self._end = memoryview(stdin), end
        self.output, self.error = bytearray(), bytearray()
        self.exit_code: int | None = None
        self._process, self._stdin = process, process.stdin
        self._ready = selectors.DefaultSelector()
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        self._ready.register(process.stdin, selectors.EVENT_WRITE)
        self._ready.register(process.stdout, selectors.EVENT_READ, self.output)
        self._ready.register(process.stderr, selectors.EVENT_READ, self.error)
        self._open = 2

    def hold(self, machine: str, timeout_s: float | None) -> None:
        """Go on to the end; ``Broken`` after ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._ready:
            while self._open:
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    if self.exit_code is not None:
                        return
                    raise Broken(f"machine {machine}: a command did not end within {timeout_s:g} s")
                if self._process.poll() and self.exit_code is None:
                    # Killed; or its login is gone. What it shared with that login may stay open: it is not waited for.
                    self._drain()
                    return
                wait_s = _LOOK_S if deadline is None else min(_LOOK_S, deadline - now)
                for key, _ in self._ready.select(wait_s):
                    self._step(key)
                if self.exit_code is not None:
                    deadline = min(deadline or now + _LINGER_S, now + _LINGER_S)

    def _drain(self) -> None:
        """Take what is there without a wait."""
        while self._open and (ready := [key for key, _ in self._ready.select(0) if key.data is not None]):
            for key in ready:
                self._step(key)

    def _step(self, key: selectors.SelectorKey) -> None:
        if key.data is None:
            self._feed()
            return
        piece = os.read(key.fd, _PIECE_BYTES)
        key.data.extend(piece)
        if not piece:
            self._ready.unregister(key.fileobj)
            self._open -= 1
        elif key.data is self.error and self.exit_code is None:
            found = self._end.search(self.error, max(0, len(self.error) - len(piece) - 64))
            if found is not None:
                self.exit_code = int(found[1])

    def _feed(self) -> None:
        try:
            if self._pending:
                self._pending = self._pending[os.write(self._stdin.fileno(), self._pending[:_PIECE_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # the command has closed its input: it does not want the rest
            self._pending = memoryview(b"")
        if not self._pending:
            self._ready.unregister(self._stdin)
            with contextlib.suppress(OSError):
                self._stdin.close()
