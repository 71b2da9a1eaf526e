"""``wlmctl orchestrator``: leads submitted experiments; without RabbitMQ it is their worker too."""

from __future__ import annotations

import logging
import signal
import time

import click

from wlmctl.cli.common import invocation
from wlmctl.errors import ExitCode, UsageError

log = logging.getLogger(__name__)

_LOOK_S = 0.1

#: Slots where nobody says otherwise: of the one worker there is with memory://, and beside the workers of a fleet.
ALONE_SLOTS, FLEET_SLOTS = 8, 0


@click.command()
@click.option(
    "--slots", metavar="N", type=click.IntRange(0, 10_000), help="So many steps at once here: 8, with RabbitMQ 0."
)
@click.pass_context
def orchestrator(ctx: click.Context, slots: int | None) -> int:
    """Work on submitted experiments until stopped.

    With broker memory:// one process is enough on one host: it leads and works, and `wlmctl submit` feeds it through
    the store. With RabbitMQ it leads what workers do (see: wlmctl worker). SIGTERM and Ctrl-C end it; jobs go on, and
    the next orchestrator collects them. Of several, one leads and the others wait.
    """
    from wlmctl.cli.service_log import log_to_stderr
    from wlmctl.cli.stopping import Stopping

    call = invocation(ctx)
    config = call.config
    if slots is None:
        slots = FLEET_SLOTS if config.is_fleet else ALONE_SLOTS
    if not slots and not config.is_fleet:
        raise UsageError("orchestrator --slots 0: with the broker memory:// nobody else works, expected at least 1")
    from wlmctl.runtime.daemon import Daemon

    log_to_stderr(verbose=call.verbose > 0)
    with Stopping() as stopping:
        daemon = Daemon(config, slots=slots)
        daemon.start()
        log.info("orchestrator with %d slots on %s, broker %s", slots, config.store, config.broker)
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
