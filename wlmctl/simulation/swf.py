"""Traces in the Standard Workload Format, also with MetaCentrum's three fields behind the eighteen.

A line of 18 fields asks for processors of one machine, and KB of memory for each of them. A line of 21 adds the nodes
used, the queue's name and what was asked of the nodes (``2:ppn=8:cl_zegox:^zegox3.example#excl``); its memory is in
bytes and for each node. ``-1`` is "not known".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wlmctl.simulation import files
from wlmctl.simulation.workload import Job

_FIELDS, _EXTENDED_FIELDS = 18, 21
_HEADER = re.compile(r";\s*(MaxNodes|MaxProcs)\s*:\s*(\d+)")
#: ``zegox17.cerit-sc.cz``, ``host=zewura1``: one node, by its name.
_HOST = re.compile(r"(?:host=)?([A-Za-z][A-Za-z_-]*\d+)(\..+)?")


@dataclass(frozen=True, slots=True)
class SwfTrace:
    """The jobs, and what the header says of the machine (0: nothing). ``left_out``: never ran, or without times."""

    jobs: Sequence[Job]
    max_nodes: int
    max_procs: int
    left_out: int


def read_swf(path: Path) -> SwfTrace:
    """The trace in the file; ``InvalidFile`` for a line that is none of the format."""
    jobs, header, left_out = list[Job](), dict[str, int](), 0
    for line, text in files.lines(path):
        if text.startswith(";"):
            if found := _HEADER.match(text):
                header[found[1]] = files.whole(path, line, found[1], found[2], 0)
            continue
        words = text.split()
        if not words:
            continue
        job = _job(path, line, words)
        if job is None:
            left_out += 1
        else:
            jobs.append(job)
    if not jobs:
        files.wrong(path, None, "", "no job that ran", "a trace in the Standard Workload Format, or Alibaba's CSV")
    return SwfTrace(jobs, header.get("MaxNodes", 0), header.get("MaxProcs", 0), left_out)


def _job(path: Path, line: int, words: list[str]) -> Job | None:
    if len(words) not in (_FIELDS, _EXTENDED_FIELDS):
        expected = f"{_FIELDS} fields of the Standard Workload Format, or {_EXTENDED_FIELDS}"
        files.wrong(path, line, "", f"{len(words)} field{'s' * (len(words) != 1)}", expected)
    numbers = [files.number(path, line, f"field {at}", words[at - 1]) for at in range(1, _FIELDS + 1)]
    submit_s, run_s, used, asked, walltime_s, memory = (numbers[at - 1] for at in (2, 4, 5, 8, 9, 10))
    procs = int(asked if asked > 0 else used)
    if submit_s < 0 or run_s < 0 or procs < 1:
        return None
    user = str(int(numbers[11]))
    walltime = walltime_s if walltime_s > 0 else None
    if len(words) == _FIELDS:
        queue = str(int(numbers[14]))
        bytes_each = int(memory) * 1024 * procs if memory > 0 else 0
        return Job(submit_s, run_s, procs, bytes_each, walltime_s=walltime, user=user, queue=queue)
    nodes, cpus, wants, is_exclusive = _node_wishes(words[20], procs)
    return Job(submit_s, run_s, cpus, max(0, int(memory)), 0, nodes, walltime, user, words[19], wants, is_exclusive)


def _node_wishes(text: str, procs: int) -> tuple[int, int, tuple[str, ...], bool]:
    """Nodes, cpus of each, properties, and whether they are for this job alone, of PBS's ``nodes=``.

    Of unlike parts (``1:ppn=1+3:ppn=2``) all count as the largest. What no file of machines can tell of a node (a site,
    an operating system, a file system) is taken to be everywhere.
    """
    text, _, how = text.partition("#")
    nodes, most, wants = 0, 0, list[str]()
    for part in text.split("+"):
        first, *properties = part.split(":")
        if first.isdecimal():
            nodes += _count(first)
        else:
            nodes, properties = nodes + 1, [first, *properties]
        for name in properties:
            if name.startswith("ppn="):
                most = max(most, _count(name[4:]) if name[4:].isdecimal() else 0)
            elif (want := _want(name)) is not None and want not in wants:
                wants.append(want)
    nodes = max(1, nodes)
    return nodes, most or math.ceil(procs / nodes), tuple(sorted(wants)), how == "excl"


def _count(digits: str) -> int:
    """The number; of more than any machine has, one is as good as another."""
    return int(min(float(digits), 1e15))


def _want(name: str) -> str | None:
    """The property as nodes have it as a label; None for one that every node has."""
    sign, name = ("^", name[1:]) if name.startswith("^") else ("", name)
    if name.startswith(("cl_", "nodecpus")):
        return sign + name
    host = _HOST.fullmatch(name)
    is_host = host is not None and (host[2] is not None or name.startswith("host=") or bool(sign))
    return sign + host[1] if host is not None and is_host else None
