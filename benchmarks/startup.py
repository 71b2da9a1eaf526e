"""How long a command takes to start, beside ``python -c "import click"``, with 200 distributions installed."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks import options
from benchmarks.experiments import write_trivial
from benchmarks.figures import Report, interleaved, ratio
from benchmarks.process import take, wlmctl

#: Installed distributions; each start of a command looks through their entry points.
DISTRIBUTIONS = 200

#: Command line: how many times `import click` it may take.
PROMISES = {"wlmctl --help": 1.6, "wlmctl status -o json": 2.5, "wlmctl submit": 4.0}


def write_distributions(folder: Path, count: int) -> None:
    """Write ``count`` installed distributions as pip leaves them; each third one has entry points of other groups."""
    for number in range(count):
        info = folder / f"fake_{number:03}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{number:03}\nVersion: 1.0\n")
        (info / "RECORD").write_text("")
        if number % 3 == 0:
            (info / "entry_points.txt").write_text(f"[console_scripts]\nfake{number} = fake:main\n")


def measure(report: Report, folder: Path, settings: argparse.Namespace) -> None:
    """The table of starts."""
    report.title(f"Start of a command, {DISTRIBUTIONS} distributions installed")
    write_distributions(folder / "site", DISTRIBUTIONS)
    env = {"PYTHONPATH": str(folder / "site"), "WLMCTL_STORE": f"sqlite:///{folder}/store.db"}
    write_trivial(folder / "one.yaml", 1, "job")
    take([*wlmctl(), "submit", "one.yaml"], folder, env)  # from now on there is a store

    def seconds(*argv: str) -> float:
        return take(argv, folder, env).wall_s

    commands = {
        "import click": partial(seconds, sys.executable, "-c", "import click"),
        "wlmctl --help": partial(seconds, *wlmctl(), "--help"),
        "wlmctl status -o json": partial(seconds, *wlmctl(), "status", "-o", "json"),
        "wlmctl submit": partial(seconds, *wlmctl(), "submit", "one.yaml"),
    }
    found = interleaved(3 * settings.runs, commands)
    peer = found["import click"]
    report.table(
        ("command", "ms", "x click"),
        [(name, spread.text_ms(), ratio(spread, peer).text()) for name, spread in found.items()],
    )
    for name, limit in PROMISES.items():
        report.promise(f"{name} beside import click", ratio(found[name], peer).median, limit)


if __name__ == "__main__":
    sys.exit(options.run(measure, __doc__ or ""))
