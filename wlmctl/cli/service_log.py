"""The log of a command that works until it is told to stop: its stderr, a line for what happens."""

from __future__ import annotations

import logging


def log_to_stderr(*, verbose: bool) -> None:
    """What happens, with its time; with ``verbose`` also where in the program."""
    root = logging.getLogger()
    root.setLevel(min(root.level, logging.INFO))
    for handler in root.handlers:
        if getattr(handler, "of_wlmctl", False):
            where = " %(name)s:" if verbose else ""
            handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s{where} %(message)s"))
