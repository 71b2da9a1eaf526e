"""The options that every benchmark has, and the folder that it works in."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Report
from benchmarks.process import compile_once
from wlmctl.__main__ import GARBAGE_AFTER


def run(measure: Callable[[Report, Path, argparse.Namespace], None], text: str, *, runs: int = 5) -> int:
    """Parse the command line and measure in a folder of its own, which is removed; the exit code."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, judges nothing")
    parser.add_argument("--runs", "--seeds", type=int, default=runs, help=f"interleaved runs (default {runs})")
    parser.add_argument("--folder", type=Path, help="work below this folder: its file system is what is measured")
    named = os.environ.get("WLMCTL_TRACES")
    parser.add_argument(
        "--traces", type=Path, default=Path(named) if named else None, help="traces lie here (default: WLMCTL_TRACES)"
    )
    parser.add_argument("--long", action="store_true", help="also what takes many minutes")
    parser.add_argument("--only", default="", help="only the parts whose name contains this")
    options = parser.parse_args()
    if options.quick:
        options.runs = 1
    gc.set_threshold(GARBAGE_AFTER)  # as the program does
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and files go also when `timeout` ends it
    with tempfile.TemporaryDirectory(prefix="wlmctl-bench-", dir=options.folder) as folder:
        compile_once(Path(folder))
        report = Report(options.quick)
        measure(report, Path(folder), options)
    return report.end()
