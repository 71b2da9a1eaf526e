"""Every error that a user or a plugin can meet, and the exit code each ends a command with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code says (docs/reference/exit-codes.md)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    CANCELLED = 5
    BUG = 70
    TIMEOUT = 124
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


class WlmctlError(Exception):
    """A mistake or a fault that is told to the user in one line, never as a traceback."""

    exit_code = ExitCode.FAILED


class UsageError(WlmctlError):
    """Wrong usage, or a bad, missing or unreadable file."""

    exit_code = ExitCode.USAGE


class NotYet(UsageError):
    """A key, option or command that is reserved for later work."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: not yet: this is reserved for a later version")


class ConfigError(UsageError):
    """A setting of wlmctl.toml or of the environment is wrong."""


class NoSuch(WlmctlError):
    """There is no such experiment, task, machine or worker."""

    exit_code = ExitCode.NOT_FOUND


class Unusable(WlmctlError):
    """What the command itself must reach (store, broker, machine, stdout) cannot be reached or used."""

    exit_code = ExitCode.UNREACHABLE


class StoreError(Unusable):
    """The store is broken, newer than this program, read-only, full, or not reachable."""


class NoStore(StoreError):
    """There is no store at this URL yet."""


class StoreOutage(StoreError):
    """The store's server does not answer, or has broken the connection off: it may be back later."""


class CommitInDoubt(StoreOutage):
    """The connection broke while a transaction was committed: whether it was is not known."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake of a file: where it is, what was found, what was expected, what to do."""

    file: str
    line: int | None
    key: str
    found: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        expected = f", expected {self.expected}" if self.expected else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{key} {self.found}{expected}{hint}"


class StoreBusy(StoreError):
    """Another process has kept the store locked for too long."""


class InvalidFile(UsageError):
    """A file with mistakes, all of them; nothing was written."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class SpecError(WlmctlError):
    """A task's text does not fit its task type: raised by ``TaskType.parse``."""

    exit_code = ExitCode.USAGE

    def __init__(self, key: str, found: str, expected: str = "", hint: str = "") -> None:
        super().__init__(f"{key}: {found}" + (f", expected {expected}" if expected else ""))
        self.key, self.found, self.expected, self.hint = key, found, expected, hint


class PluginError(WlmctlError):
    """A plugin cannot be used: it fails to import, or offers something of the wrong shape."""

    exit_code = ExitCode.USAGE


class PluginConflict(PluginError):
    """Two installed distributions offer a plugin of the same kind and name."""


class UnknownPlugin(PluginError):
    """No installed distribution offers a plugin of this kind and name."""


class TransportError(WlmctlError):
    """The only errors a transport raises are the five below, and kinds of them."""


class NotFound(TransportError):
    """The path does not exist (failure class ``user``)."""


class Denied(TransportError):
    """The path may not be read or written by this login (failure class ``user``)."""


class NoSpace(TransportError):
    """The disk or the quota of the far side is full (failure class ``user``)."""


class Unreachable(TransportError):
    """The machine does not answer, or refuses the login: it is held, and its tasks wait."""

    exit_code = ExitCode.UNREACHABLE


class Broken(TransportError):
    """The connection or the transfer broke; the attempt is tried again (failure class ``infra``)."""


class UntrustedHost(Unreachable):
    """The host key is unknown or has changed: nothing was sent to that host."""


class LoginRefused(Unreachable):
    """The host answered and refused every login that was offered."""


class TurnedAway(Unreachable):
    """The host took the login and runs no command: it says something and ends (maintenance, an expired password)."""

    def __init__(self, machine: str, said: str) -> None:
        words = f"; it says: {said}" if said else " (log in by hand to see why)"
        hint = "; log in by hand and change the password" if "password" in said.lower() else ""
        super().__init__(f"machine {machine}: the host takes the login and runs no command{words}{hint}")


class TaskFailed(WlmctlError):
    """A task's attempt ended without success, for the reason given and with its failure class."""

    def __init__(self, reason: str, failure_class: str = "user", exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.failure_class, self.job_exit_code = reason, failure_class, exit_code


class Cancelled(WlmctlError):
    """The task was cancelled while it ran: raised by ``TaskContext.check_cancelled``."""

    exit_code = ExitCode.CANCELLED


class BrokenOff(Cancelled):
    """An execution ends though nobody has cancelled the task: its work is for another one."""
