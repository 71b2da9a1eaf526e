"""Regular expressions of users, tried in a process of their own: one that never ends must not stop a worker.

Run as a program it reads ``[[pattern, text], ...]`` and writes one JSON line for each: what it found, or null.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence

#: Seconds that one search may take.
SEARCH_S = 10.0


class TooSlow(Exception):
    """A search that was given up."""


def search(wanted: Sequence[tuple[str, str]]) -> list[str | TooSlow | None]:
    """For each pattern and text the first group (all of it, without groups) of the last match; None: no match."""
    found: list[str | TooSlow | None] = []
    while len(found) < len(wanted):
        told = _some(wanted[len(found) :])
        # the first search had all the time for itself where none has ended
        found += told or [TooSlow(f"its search takes longer than {SEARCH_S:g} s")]
    return found


def _some(wanted: Sequence[tuple[str, str]]) -> list[str | None]:
    """What is found in ``SEARCH_S``, from the first on."""
    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            stdout, _ = process.communicate(json.dumps(wanted).encode(), timeout=SEARCH_S)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, _ = process.communicate()
    return [json.loads(line) for line in stdout.splitlines(keepends=True) if line.endswith(b"\n")]


def last(pattern: str, text: str) -> str | None:
    """The first group of the last match, all of the match without groups, None where there is none."""
    match = None
    for match in re.finditer(pattern, text, re.MULTILINE):  # noqa: B007 (the last one counts)
        pass
    return None if match is None else match[1 if match.re.groups else 0]


if __name__ == "__main__":
    for each in json.load(sys.stdin):
        sys.stdout.write(json.dumps(last(*each)) + "\n")
        sys.stdout.flush()
