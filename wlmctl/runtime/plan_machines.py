"""What ``plan`` finds out about one machine, without writing anything there."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from wlmctl.config import Config
from wlmctl.connections import ConnectionPool
from wlmctl.errors import TransportError, Unreachable
from wlmctl.machine import Machine
from wlmctl.planning import Finding
from wlmctl.quantities import format_size
from wlmctl.runtime.abreast import abreast
from wlmctl.text import shown
from wlmctl.transport import Digests, Runs, Space, Transport
from wlmctl.worker.places import resolve_scratch
from wlmctl.worker.probe import facts

#: A scratch folder with less room than this is a problem whatever the experiment brings.
_LITTLE_SPACE_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class MachineSurvey:
    """One machine as ``plan`` saw it, with the capacity it reports; ``unreachable`` says why nothing is known."""

    machine: Machine
    findings: tuple[Finding, ...] = ()
    unreachable: str = ""
    home: str = "/"
    scratch: str = ""
    has_shell: bool = False
    free_bytes: int | None = None
    shown_login: str = field(default="this host")

    @property
    def problems(self) -> list[Finding]:
        """What would make tasks fail."""
        return [finding for finding in self.findings if finding.level == "problem"]

    def without_problems(self) -> MachineSurvey:
        """The same, for who needs nothing of this machine but to read it: problems are notes."""
        noted = (replace(each, level="note") if each.level == "problem" else each for each in self.findings)
        return replace(self, findings=tuple(noted))


def survey(machine: Machine, pool: ConnectionPool) -> MachineSurvey:
    """Log in and look: shell, sha256 tool, capacity, scratch folder and its space."""
    login = _login(machine)
    try:
        with pool.lease(machine) as transport:
            return replace(_survey(machine, transport), shown_login=login)
    except Unreachable as error:
        return MachineSurvey(machine, unreachable=str(error), shown_login=login)
    except TransportError as error:
        return MachineSurvey(machine, (Finding("scratch", str(error), "problem"),), shown_login=login)


def _login(machine: Machine) -> str:
    if machine.is_local:
        return "this host"
    from wlmctl.ssh.login import resolved_login

    return resolved_login(machine)


def _survey(machine: Machine, transport: Transport) -> MachineSurvey:
    scratch = resolve_scratch(machine, transport)
    has_shell = isinstance(transport, Runs)
    reported = facts(machine, transport)
    known = replace(
        machine,
        cpus=machine.cpus if machine.cpus is not None else reported.cpus,
        memory_bytes=machine.memory_bytes if machine.memory_bytes is not None else reported.memory_bytes,
        gpus=machine.gpus if machine.gpus is not None else reported.gpus,
    )
    free_bytes = None
    findings = [Finding("shell", "it has a shell" if has_shell else "it has no shell: staging and files only")]
    if not has_shell:
        findings[0] = replace(findings[0], level="note")
    above = _existing(transport, scratch)
    if isinstance(transport, Space):
        free_bytes = transport.free_bytes(above)
    findings += _scratch(transport, scratch, above, free_bytes)
    if isinstance(transport, Digests) and transport.can_digest:
        findings.append(Finding("digest", "sha256 is computed there"))
    else:
        findings.append(Finding("digest", "no sha256 there: copies are verified by reading them back", "note"))
    return MachineSurvey(known, tuple(findings), "", transport.home(), scratch, has_shell, free_bytes)


def _existing(transport: Transport, path: str) -> str:
    """``path``, or the nearest folder above it that exists."""
    while path != "/" and transport.stat(path, follow=True) is None:
        path = posixpath.dirname(path)
    return path


def _scratch(transport: Transport, scratch: str, above: str, free_bytes: int | None) -> Iterator[Finding]:
    there = transport.stat(above, follow=True)
    if there is None or there.kind != "directory":
        text = f"scratch {shown(scratch)}: {shown(above)} is no folder"
        yield Finding("scratch", text, "problem")
        return
    text = f"scratch {shown(scratch)}"
    if above != scratch:
        text += f" will be made in {shown(above)}"
    if free_bytes is not None:
        text += f", {format_size(free_bytes)} free"
    if not isinstance(transport, Runs):
        yield Finding("scratch", f"{text}; whether it is writable, only the run will show", "note")
    elif transport.run(f"test -w {shlex.quote(above)} && test -x {shlex.quote(above)}", timeout_s=30).exit_code:
        yield Finding("scratch", f"{text}: this login may not write {shown(above)}", "problem")
        return
    else:
        figures = {} if free_bytes is None else {"free_bytes": free_bytes}
        yield Finding("scratch", f"{text}, writable", figures=figures)
    if free_bytes is not None and free_bytes < _LITTLE_SPACE_BYTES:
        yield Finding("space", f"only {format_size(free_bytes)} are free at {shown(above)}", "problem")


def surveys(config: Config, names: list[str], pool: ConnectionPool) -> dict[str, MachineSurvey]:
    """Several machines at once, by name."""
    found = abreast(lambda name: survey(config.machine(name), pool), names)
    return dict(zip(names, found, strict=True))
