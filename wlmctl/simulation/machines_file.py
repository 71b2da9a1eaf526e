"""The nodes of a simulation: a ``.machines`` file, Alibaba's list of nodes, or the machines of the inventory."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from wlmctl.machine import Machine
from wlmctl.simulation import files
from wlmctl.simulation.workload import MOST, Node

#: The first columns of Alibaba's list of nodes.
NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")

_COLUMNS = "id name nodes cpus speed memory_KB"


def read_machines(path: Path) -> list[Node]:
    """The nodes that the file lists; it is told by its first line which of the two kinds it is."""
    for _, first in files.lines(path):
        if first.startswith(f"{NODE_COLUMNS[0]},"):
            return _node_list(path)
        break
    return _machines(path)


def _machines(path: Path) -> list[Node]:
    """Lines of ``id name nodes cpus speed memory_KB``, the last three for each node."""
    nodes = list[Node]()
    for line, text in files.lines(path):
        words = text.split()
        if not words or text.startswith((";", "#")):
            continue
        if len(words) != 6:
            files.wrong(path, line, "", f"{len(words)} field{'s' * (len(words) != 1)}", f"6: {_COLUMNS}")
        name = words[1]
        count = files.whole(path, line, "nodes", words[2], 1, MOST)
        cpus = files.whole(path, line, "cpus", words[3], 1, MOST)
        memory_bytes = files.whole(path, line, "memory_KB", words[5], 0) * 1024
        nodes += nodes_of(name, count, cpus, memory_bytes, 0)
    if not nodes:
        files.wrong(path, None, "", "no machine", f"lines with {_COLUMNS}")
    return nodes


def nodes_of(machine: str, count: int, cpus: int, memory_bytes: int | None, gpus: int) -> list[Node]:
    """``count`` equal nodes of a machine, numbered from 1."""
    return [
        Node(
            f"{machine}{number}", machine, cpus, memory_bytes, gpus,
            frozenset({machine, f"cl_{machine}", f"{machine}{number}", f"nodecpus{cpus}"}),
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def _node_list(path: Path) -> list[Node]:
    nodes = list[Node]()
    for line, row in rows(path, NODE_COLUMNS):
        model = row["model"]
        cpus = files.whole(path, line, "cpu_milli", row["cpu_milli"], 1) // 1000
        memory_bytes = files.whole(path, line, "memory_mib", row["memory_mib"], 0) * 2**20
        gpus = files.whole(path, line, "gpu", row["gpu"], 0)
        nodes.append(Node(row["sn"], model or "cpu", cpus, memory_bytes, gpus, frozenset({model} if model else ())))
    if not nodes:
        files.wrong(path, None, "", "no node", f"lines with {','.join(NODE_COLUMNS)}")
    return nodes


def rows(path: Path, columns: tuple[str, ...]) -> Iterable[tuple[int, Mapping[str, str]]]:
    """The rows of a CSV file with these columns first, numbered by their line."""
    numbered = files.lines(path)
    line, text = next(numbered, (1, ""))
    header = _cells(path, line, text)
    if missing := [name for name in columns if name not in header]:
        files.wrong(path, line, "", f"no column {missing[0]}", f"a first line with {','.join(columns)}")
    for line, text in numbered:
        cells = _cells(path, line, text)
        if not cells:
            continue
        if len(cells) != len(header):
            files.wrong(path, line, "", f"{len(cells)} field{'s' * (len(cells) != 1)}", f"{len(header)}, as above")
        yield line, dict(zip(header, cells, strict=True))


def _cells(path: Path, line: int, text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        files.wrong(path, line, "", str(error), "a row of a CSV file")


def inventory_nodes(machines: Mapping[str, Machine]) -> list[Node]:
    """The machines of the inventory whose cpus are known, each as one node; this host's own are counted."""
    cpus = {name: machine.cpus for name, machine in machines.items() if machine.cpus is not None}
    for name, machine in machines.items():
        if machine.is_local:
            cpus.setdefault(name, os.cpu_count() or 1)
    return [
        Node(
            name, name, cpus[name], machine.memory_bytes, machine.gpus or 0,
            frozenset({*machine.labels, name, f"cl_{name}"}),
        )
        for name, machine in machines.items()
        if name in cpus
    ]  # fmt: skip
