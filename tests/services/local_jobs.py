"""Jobs of the batch system ``shell`` on this host, in each of the ways in which it can be used."""

from __future__ import annotations

from pathlib import Path

from wlmctl_batch_shell.system import ShellBatch

from tests.services.commands_only import CommandsOnly
from wlmctl.machine import Machine
from wlmctl.plugins import transport_factory
from wlmctl.testing.jobs import Jobs

#: By one spawn a job, as on ``local``, or by commands, as on a machine with a login.
WAYS = ["spawn", "commands"]

#: A script that runs until the file ``go`` is there.
WAITS = "echo ran > ran; while ! [ -e go ]; do sleep 0.05; done"


def local_jobs(folder: Path, way: str, *, before: str = "", machine: Machine | None = None) -> Jobs:
    """Jobs below ``folder``; ``before`` is shell text before each command."""
    machine = machine or Machine("local", kill_grace_s=1)
    transport = transport_factory("local")(machine, {})
    return Jobs(ShellBatch(machine), transport if way == "spawn" else CommandsOnly(transport, before), str(folder))
