"""Small traces that tests write themselves, in the formats that ``wlmctl simulate`` reads."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Two kinds of nodes: four of 4 cpus, two of 16.
MACHINES = """\
0 small 4 4 1 8388608
1 large 2 16 1 67108864
"""

_QUEUES = {"q_short": 600, "q_day": 86400, "q_week": 604800}


def swf_line(
    number: int,
    submit_s: float,
    run_s: float,
    procs: int,
    *,
    walltime_s: float = 3600,
    user: int = 1,
    queue: str = "q_day",
    spec: str | None = None,
    memory: int = 1 << 30,
) -> str:
    """One line of 21 fields, as MetaCentrum writes them."""
    fields: list[object] = [
        number, submit_s, 0, run_s, procs, 1, 1024, procs, walltime_s, memory, 1, user, 1, 1, -1, 1, 1, 1, "{1}", queue,
        spec or f"1:ppn={procs}",
    ]  # fmt: skip
    return " ".join(map(str, fields))


def standard_line(number: int, submit_s: float, run_s: float, procs: int, *, walltime_s: float = 3600) -> str:
    """One line of the standard 18 fields."""
    fields = [number, submit_s, -1, run_s, procs, -1, -1, procs, walltime_s, -1, 1, 7, 1, -1, 2, -1, -1, -1]
    return " ".join(map(str, fields))


def random_lines(seed: int, count: int) -> Iterable[str]:
    """Jobs of three queues, four users, one or two nodes, some for large nodes only; the same for the same seed."""
    draw = random.Random(seed)
    now_s = 1_000_000
    for number in range(count):
        now_s += draw.choice((0, 1, 30, 200))
        queue = draw.choice(list(_QUEUES))
        cpus = draw.choice((1, 1, 2, 4, 8, 16))
        nodes = 2 if cpus <= 4 and draw.random() < 0.2 else 1
        wish = draw.choice(("", "", ":cl_large", ":^cl_small", ":brno")) if nodes == 1 else ""
        run_s = draw.randint(1, 4000)
        yield swf_line(
            number, now_s, run_s, cpus * nodes, walltime_s=max(_QUEUES[queue], run_s), user=draw.randint(1, 4),
            queue=queue, spec=f"{nodes}:ppn={cpus}{wish}", memory=draw.choice((1 << 20, 1 << 30, 6 << 30)),
        )  # fmt: skip


def write_trace(folder: Path, lines: Iterable[str], machines: str | None = MACHINES, name: str = "small") -> Path:
    """``NAME.swf`` and ``NAME.machines``."""
    if machines is not None:
        (folder / f"{name}.machines").write_text(machines)
    path = folder / f"{name}.swf"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_pods(folder: Path, pods: Sequence[str], nodes: Sequence[str]) -> Path:
    """Alibaba's two lists."""
    (folder / "node_list_all.csv").write_text("\n".join(["sn,cpu_milli,memory_mib,gpu,model", *nodes, ""]))
    path = folder / "pods.csv"
    columns = (
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
    )
    path.write_text("\n".join([columns, *pods, ""]))
    return path
