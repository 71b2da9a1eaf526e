"""Looking at a machine: whether it answers, and what it has."""

from __future__ import annotations

from contextlib import suppress

from wlmctl.batch import Capacity, TellsCapacity
from wlmctl.errors import PluginError
from wlmctl.jobs.talk import raise_if_away
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory
from wlmctl.transport import Runs, Transport

_FACTS = """
cpus=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null)
memory=$(sed -n 's/^MemTotal: *\\([0-9]*\\) kB.*/\\1/p' /proc/meminfo 2>/dev/null)
gpus=0
if command -v nvidia-smi >/dev/null 2>&1; then gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU '); fi
echo "wlmctl-facts ${cpus:-0} ${memory:-0} ${gpus:-0}"
"""


def facts(machine: Machine, transport: Transport) -> Capacity:
    """Ask the machine, or its batch system; one that has no shell reports nothing. Also shows that it answers."""
    if not isinstance(transport, Runs):
        transport.stat("/")
        return Capacity()
    if machine.has_queue:
        with suppress(PluginError):  # whoever needs the batch system says so
            batch = batch_factory(machine.batch)(machine, machine.batch_options)
            if isinstance(batch, TellsCapacity):
                command = batch.capacity()
                completed = transport.run(command.text, command.stdin, command.timeout_s)
                raise_if_away(batch, machine, completed)
                return batch.told_capacity(completed)
    done = transport.run(_FACTS, timeout_s=30)
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) == 4 and words[0] == "wlmctl-facts":
            cpus, memory, gpus = (int(word) if word.isdigit() else 0 for word in words[1:])
            return Capacity(cpus or None, memory * 1024 or None, gpus)
    return Capacity()
