"""``wlmctl orchestrator``: daemon and worker in one process, for experiments that were submitted."""

from __future__ import annotations

import logging
import signal
import time

import click

from wlmctl.cli.common import invocation
from wlmctl.errors import ExitCode

log = logging.getLogger(__name__)

_LOOK_S = 0.1


@click.command()
@click.option("--slots", type=click.IntRange(1, 10_000), default=8, show_default=True, help="So many steps at once.")
@click.pass_context
def orchestrator(ctx: click.Context, slots: int) -> int:
    """Work on submitted experiments until stopped.

    One process is enough on one host: `wlmctl submit` feeds it through the store. SIGTERM and Ctrl-C end it; jobs go
    on, and the next orchestrator collects them. Of several, one leads and the others wait.
    """
    from wlmctl.cli.stopping import Stopping
    from wlmctl.runtime.daemon import Daemon

    call = invocation(ctx)
    config = call.config
    _log_to_stderr(verbose=call.verbose > 0)
    with Stopping() as stopping:
        daemon = Daemon(config, slots=slots)
        daemon.start()
        log.info("orchestrator with %d slots on %s", slots, config.store)
        try:
            while daemon.error() is None and not stopping.is_asked:
                time.sleep(_LOOK_S)
            if stopping.is_asked:
                log.info("stopping; jobs go on")
        finally:
            daemon.stop()
            while not daemon.join(_LOOK_S):
                pass
        error = daemon.error()
        if error is not None:
            raise error
    return ExitCode.INTERRUPTED if stopping.number == signal.SIGINT else ExitCode.DONE


def _log_to_stderr(*, verbose: bool) -> None:
    """What happens, with its time: a daemon's stderr is its log."""
    root = logging.getLogger()
    root.setLevel(min(root.level, logging.INFO))
    for handler in root.handlers:
        if getattr(handler, "of_wlmctl", False):
            where = " %(name)s:" if verbose else ""
            handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s{where} %(message)s"))
