"""What the end of a job's stderr says of why it failed, where neither its exit file nor its queue does."""

from __future__ import annotations

import re

from wlmctl.task import FailureClass

#: Bytes of the log, from its end, in which a batch system or a runtime may have said why.
_LAST_BYTES = 16 * 1024

#: Words that batch systems, and runtimes that are refused memory, write; the first of these classes counts.
_WORDS = (
    (
        FailureClass.PREEMPTED,
        r"^(slurmstepd|srun)[^ ]*: .*DUE TO PREEMPTION",
    ),
    (
        FailureClass.INFRA,
        r"^(slurmstepd|srun)[^ ]*: .*DUE TO (NODE FAILURE|JOB REQUEUE)",
    ),
    (
        FailureClass.TIME,
        r"^(slurmstepd|srun)[^ ]*: .*DUE TO TIME LIMIT"
        r"|^=>> PBS: job killed: (walltime|cput) .* exceeded limit"
        r"|^TERM_(RUNLIMIT|CPULIMIT): ",
    ),
    (
        FailureClass.MEMORY,
        r"^(slurmstepd|srun)[^ ]*: .*(oom[-_ ]kill|Out Of Memory|[Ee]xceeded (job |step )?memory limit)"
        r"|^=>> PBS: job killed: (mem|vmem|pmem|pvmem) .* exceeded limit"
        r"|^TERM_MEMLIMIT: "
        r"|^MemoryError\b|^numpy\..*MemoryError\b"
        r"|\bstd::bad_alloc\b"
        r"|\bjava\.lang\.OutOfMemoryError\b"
        r"|^Error: cannot allocate vector of size"
        r"|\bCannot allocate memory$",
    ),
)
_PATTERNS = tuple((failure, re.compile(words)) for failure, words in _WORDS)


def told(stderr: bytes) -> tuple[FailureClass, str] | None:
    """The class that a line of the log stands for, and the line; None: nothing there says why."""
    lines = [line.strip() for line in stderr[-_LAST_BYTES:].decode("utf-8", "replace").splitlines()]
    for failure, pattern in _PATTERNS:
        if line := next((line for line in reversed(lines) if pattern.search(line)), None):
            return failure, line
    return None
