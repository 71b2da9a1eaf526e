"""Where things lie on a machine: its scratch folder, an experiment's folder, an attempt's private folder."""

from __future__ import annotations

import posixpath
import re
import shlex

from wlmctl.errors import Broken
from wlmctl.machine import Machine
from wlmctl.transport import Runs, Transport


def resolve_scratch(machine: Machine, transport: Transport) -> str:
    """The machine's scratch folder, absolute: ``~/`` by the login folder, ``$VAR`` by the machine's login shell."""
    scratch = machine.scratch
    if scratch == "~" or scratch.startswith("~/"):
        scratch = transport.home().rstrip("/") + scratch[1:]
    if "$" in scratch:
        scratch = _expand(machine, transport, scratch)
    if not scratch.startswith("/"):
        scratch = posixpath.join(transport.home(), scratch)
    return posixpath.normpath(scratch)


def _expand(machine: Machine, transport: Transport, scratch: str) -> str:
    names = re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?", scratch)
    if not isinstance(transport, Runs):
        raise Broken(f"machine {machine.name}: scratch {scratch!r} has a variable, and there is no shell to expand it")
    shell = machine.shell or "bash -l"
    program = "; ".join(f'printf "%s\\0" "${name}"' for name in names)
    command = f"{shell} -c {shlex.quote(program)} || sh -c {shlex.quote(program)}"
    done = transport.run(command, timeout_s=30)
    values = done.stdout.decode("utf-8", "surrogateescape").split("\0")[-len(names) - 1 : -1]
    for name, value in zip(names, values, strict=False):
        if not value:
            raise Broken(f"machine {machine.name}: scratch {scratch!r}: ${name} is not set there")
        scratch = re.sub(r"\$\{" + name + r"\}|\$" + name + r"(?![A-Za-z0-9_])", value.replace("\\", "\\\\"), scratch)
    if "$" in scratch:
        raise Broken(f"machine {machine.name}: scratch {machine.scratch!r} cannot be expanded")
    return scratch


def experiment_folder(scratch: str, experiment: str) -> str:
    """The folder of an experiment on a machine, mode 0700."""
    return f"{scratch}/{experiment}"


def private_folder(scratch: str, experiment: str, task: str, attempt: int) -> str:
    """Where the logs, the fence and the exit file of one attempt lie."""
    return f"{scratch}/{experiment}/.wlmctl/{task}/{attempt}"
