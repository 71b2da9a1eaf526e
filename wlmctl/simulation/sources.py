"""Where a workload comes from: a trace with its file of machines, told apart by what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wlmctl.errors import UsageError
from wlmctl.machine import Machine
from wlmctl.simulation import files
from wlmctl.simulation.alibaba import POD_COLUMNS, read_pods
from wlmctl.simulation.machines_file import inventory_nodes, nodes_of, read_machines
from wlmctl.simulation.swf import SwfTrace, read_swf
from wlmctl.simulation.workload import Node, Workload
from wlmctl.text import counted, shown

#: What ``--machines`` takes for the machines of the configuration.
INVENTORY = "inventory"


def from_trace(path: Path, machines: str | None, inventory: Mapping[str, Machine]) -> Workload:
    """The trace in the file, on the machines asked for, or on those that lie beside it."""
    if _is_pods(path):
        pods = read_pods(path)
        nodes = _nodes(machines, inventory) or read_machines(_beside(path, "*node_list*"))
        notes = [
            *_left_out(pods.other_gpus, "pod", "not with one GPU"),
            *_left_out(pods.never_ran, "pod", "that never ran"),
        ]
        return Workload(pods.jobs, nodes, notes)
    trace = read_swf(path)
    nodes = _nodes(machines, inventory) or _of_swf(path, trace)
    return Workload(trace.jobs, nodes, _left_out(trace.left_out, "job", "that did not run, or came at no known time,"))


def _left_out(count: int, noun: str, why: str) -> list[str]:
    return [f"{counted(count, noun)} {why} {'is' if count == 1 else 'are'} left out"] if count else []


def _is_pods(path: Path) -> bool:
    for _, first in files.lines(path):
        return first.startswith(f"{POD_COLUMNS[0]},")
    return False


def _nodes(machines: str | None, inventory: Mapping[str, Machine]) -> list[Node] | None:
    """The nodes that the user names; None where none are named."""
    if machines is None:
        return None
    return inventory_nodes(inventory) if machines == INVENTORY else read_machines(Path(machines))


def nodes_for_history(machines: str | None, inventory: Mapping[str, Machine]) -> list[Node]:
    """The nodes that the own past is simulated on: the inventory's, unless a file is named."""
    return _nodes(machines or INVENTORY, inventory) or []


def _of_swf(path: Path, trace: SwfTrace) -> list[Node]:
    """The nodes of ``NAME.machines`` beside ``NAME.swf[.gz]``; else one machine as the trace's header tells it."""
    name = path.name.removesuffix(".gz").removesuffix(".swf")
    beside = path.with_name(f"{name}.machines")
    if beside.exists():
        return read_machines(beside)
    if trace.max_procs:
        return nodes_of("cluster", 1, trace.max_procs, None, 0)
    raise UsageError(
        f"{shown(str(path))}: no machines: there is no file {shown(beside.name)} beside it and no MaxProcs in its"
        " header; give --machines FILE"
    )


def _beside(path: Path, pattern: str) -> Path:
    found = sorted(path.parent.glob(f"{pattern}.csv")) + sorted(path.parent.glob(f"{pattern}.csv.gz"))
    if len(found) != 1:
        what = "no file" if not found else f"{len(found)} files"
        raise UsageError(f"{shown(str(path))}: {what} like {pattern}.csv beside it, expected one; give --machines FILE")
    return found[0]
