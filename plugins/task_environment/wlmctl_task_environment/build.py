"""One build of an environment's folder: started detached, asked for its end, ended when the task is cancelled."""

from __future__ import annotations

import logging
import posixpath
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress

from wlmctl.errors import Broken, Cancelled, TaskFailed, TransportError
from wlmctl.machine import Machine
from wlmctl.task import Done
from wlmctl.task_context import TaskContext
from wlmctl.text import shown
from wlmctl.transfer import Place, put_content
from wlmctl.transport import FileInfo, Runs, Transport
from wlmctl_task_environment.modules import ACTIVATE
from wlmctl_task_environment.scripts import KILL, LOOK, MARKER, RUNNER, START, USED, with_variables

log = logging.getLogger(__name__)

#: So much of each output goes into the result.
TAIL_BYTES = 64 * 1024
#: A runner that is not to be seen counts as lost when its beat stands still for so long.
_SILENCE_S = 120.0
_SLOWEST_LOOK_S = 5.0
#: The step in which the modules are loaded; commands have their numbers, and the preamble is 0.
_MODULES = -1


class Build:
    """The commands of an environment in ``<scratch>/environments/<digest>/``, once for all experiments."""

    def __init__(
        self,
        context: TaskContext,
        place: Place,
        machine: Machine,
        digest: str,
        commands: Sequence[str],
        *,
        has_modules: bool = False,
    ) -> None:
        role = place.name
        self._context, self._place, self._machine, self._commands = context, place, machine, commands
        self._has_modules = has_modules
        self._parent = posixpath.join(context.scratch(role), "environments")
        self.folder = posixpath.join(self._parent, digest)
        self._private = context.private_folder(role)
        self._base = posixpath.join(self._private, f"environment-{context.execution}")
        self.inputs = posixpath.join(self._base, "inputs")

    def is_whole(self, transport: Transport) -> bool:
        """True when an execution has come to its end there; notes that it was asked for."""
        with self._place.told(self.folder):
            if transport.stat(posixpath.join(self.folder, MARKER)) is None:
                return False
            with suppress(TransportError):
                transport.write(posixpath.join(self.folder, USED), (), FileInfo(USED, "file", 0, 0o644, time.time()))
            return True

    def carry_out(self) -> Done:
        """Start the commands and wait for their end; ``TaskFailed`` tells which failed and the end of its output."""
        self._start()
        try:
            answer = self._wait()
        except Cancelled:
            self._end()
            raise
        return self._judged(answer)

    def _start(self) -> None:
        context, put = self._context, self._put
        script = [self._machine.preamble, "set -e", f"cd -- {shlex.quote(self.folder)}"]
        loads = [(_MODULES, f". ./{ACTIVATE}")] if self._has_modules else []
        for number, command in [*loads, *enumerate(self._commands, 1)]:
            script += [f"printf '%s\\n' {number} >{shlex.quote(self._path('step'))}", command]
        variables = {
            "BASE": self._base,
            "PARENT": self._parent,
            "ENVIRONMENT": self.folder,
            "LOCK": f"{self.folder}.lock",
            "MARKER": MARKER,
            "INPUTS": self.inputs,
            "COMMANDS": self._path("commands"),
            "STDOUT": posixpath.join(self._private, "stdout"),
            "STDERR": posixpath.join(self._private, "stderr"),
            "EXECUTION": context.execution,
            "SHELL_WORDS": self._machine.shell or ("sh" if self._machine.is_local else ""),
        }
        started = {
            "BASE": self._base,
            "TOKEN": context.token,
            "EXPERIMENT": context.experiment,
            "TASK": context.task,
            "ATTEMPT": str(context.attempt),
            "FOLDER": context.folder(self._place.name),
        }
        with self._place.lease() as transport:
            put(transport, "commands", "\n".join(script) + "\n")
            put(transport, "runner", with_variables(RUNNER, variables))
            context.check_cancelled()
            self._run(transport, with_variables(START, started))

    def _wait(self) -> str:
        began_s = heard_s = time.monotonic()
        last_beat = ""
        while True:
            self._context.check_cancelled()
            with self._place.lease() as transport:
                answer = self._run(transport, with_variables(LOOK, {"BASE": self._base, "TURNS": "8"})).strip()
            how, _, rest = answer.partition(" ")
            now_s = time.monotonic()
            if how == "end":
                return rest
            step, _, beat = rest.partition(" ")
            if how == "running" or beat != last_beat:
                heard_s, last_beat = now_s, beat
            if how == "lost" or now_s - heard_s > _SILENCE_S:
                raise TaskFailed(
                    f"{self._place.name}: the commands were killed, or the machine started anew, before their end",
                    "infra",
                )
            self._context.progress(what=f"command {max(int(step or 0), 1)} of {len(self._commands)}")
            self._pause(now_s - began_s)

    def _pause(self, since_s: float) -> None:
        """Look rarely at what takes long, and never more often than the machine's commands allow."""
        pause_s = min(since_s / 30, _SLOWEST_LOOK_S)
        if self._machine.commands_per_minute:
            pause_s = max(pause_s, 120 / self._machine.commands_per_minute)
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._context.check_cancelled()
            time.sleep(min(left_s, 0.5))

    def _judged(self, answer: str) -> Done:
        how, _, rest = answer.partition(" ")
        with self._place.lease() as transport:
            stdout, stderr = self._tail(transport, "stdout"), self._tail(transport, "stderr")
            whole = self.is_whole(transport)
            with suppress(TransportError):
                transport.remove(self._base)
        if how in ("already", "exit") and whole:
            return Done(exit_code=0, stdout=stdout, stderr=stderr, folder=self.folder)
        if how == "exit":
            code, _, step = rest.partition(" ")
            raise TaskFailed(self._failure(int(code), int(step or 0), stdout, stderr), "user", int(code))
        raise TaskFailed(f"{self._place.name}: {shown(rest or answer)}{_last_words(stdout, stderr)}", "infra")

    def _failure(self, code: int, step: int, stdout: bytes, stderr: bytes) -> str:
        where = "the preamble"
        if step == _MODULES:
            where = "the loading of the modules"
        elif step:
            command = self._commands[step - 1].strip()
            text = shown(command.splitlines()[0][:60])
            where = f"command {step} of {len(self._commands)} ({text}{'...' if len(command) > 60 else ''})"
        return f"{self._place.name}: {where} ended with exit code {code}{_last_words(stdout, stderr)}"

    def _tail(self, transport: Transport, name: str) -> bytes:
        path = posixpath.join(self._private, name)
        there = transport.stat(path)
        if there is None:
            return b""
        return b"".join(transport.read(path, max(0, there.size_bytes - TAIL_BYTES)))[-TAIL_BYTES:]

    def _end(self) -> None:
        """End every process of this attempt and prove it; raises what stands against the proof."""
        grace_s = self._machine.kill_grace_s
        variables = {"BASE": self._base, "TOKEN": self._context.token, "GRACE": str(round(grace_s * 5))}
        with self._place.clearing() as transport:
            answer = self._run(transport, with_variables(KILL, variables), timeout_s=grace_s + 60).strip()
            if answer == "gone":
                with suppress(TransportError):
                    transport.remove(self._base)
                return
        how, _, host = answer.partition(" ")
        if how == "elsewhere":
            raise Broken(f"{self._place.name}: the commands run on {shown(host)}, which this login does not reach now")
        raise Broken(f"{self._place.name}: the commands do not end, even when they are killed")

    def _path(self, name: str) -> str:
        return posixpath.join(self._base, name)

    def _put(self, transport: Transport, name: str, text: str) -> None:
        put_content(
            self._place,
            transport,
            self._path(name),
            text.encode("utf-8", "surrogateescape"),
            0o600,
            execution=self._context.execution,
            check=self._context.check_cancelled,
        )

    def _run(self, transport: Transport, command: str, timeout_s: float = 60.0) -> str:
        assert isinstance(transport, Runs)  # looked at before anything was written
        completed = transport.run(command, timeout_s=timeout_s)
        if completed.exit_code:
            told = completed.stderr.decode(errors="replace").strip() or f"exit code {completed.exit_code}"
            raise Broken(f"{self._place.name}: the machine's sh failed: {shown(told)}")
        return completed.stdout.decode("utf-8", "surrogateescape")


def _last_words(stdout: bytes, stderr: bytes) -> str:
    """The last lines of what was told, in one line."""
    text = (stderr.strip() or stdout.strip()).decode(errors="replace")
    lines = [shown(line.strip()) for line in text.splitlines() if line.strip()]
    return f": {' | '.join(lines[-3:])[-500:]}" if lines else ""
