"""What is said and done about a broker that is away: wait, and say once what for, or give up where it refuses."""

from __future__ import annotations

import logging
import time

from wlmctl.broker.contract import BrokerRefused, LinkState
from wlmctl.broker.rabbitmq.faults import Fault

log = logging.getLogger(__name__)


class Outage:
    """Follows the attempts to reach one broker. ``address`` is shown; it holds no password."""

    def __init__(self, address: str, refusal_grace_s: float) -> None:
        self._address, self._grace_s = address, refusal_grace_s
        self._said = ""
        self._refused_since_s: float | None = None

    def judge(self, fault: Fault, before: LinkState, *, was_up: bool) -> LinkState | BrokerRefused:
        """After the end of a connection or attempt: the state of waiting, or the refusal that ends it.

        A refusal by a broker that has never taken us is final at once. One that has may have lost its users and
        vhosts with its data: they may come back, so it gets some time.
        """
        text = f"{self._address}: {fault.text}"
        if was_up or not fault.is_refusal:
            self._refused_since_s = None
        if fault.is_refusal:
            now_s = time.monotonic()
            if self._refused_since_s is None:
                self._refused_since_s = now_s
            if before.epoch == 0 or now_s - self._refused_since_s >= self._grace_s:
                return BrokerRefused(f"the broker {text}")
        if fault.text != self._said:
            self._said = fault.text
            said = "lost the broker %s; connecting again" if was_up else "waiting for the broker %s"
            log.warning(said, text)
        return LinkState("reconnecting" if before.epoch else "connecting", fault.text, before.epoch)

    def missing(self, what: str, before: LinkState) -> LinkState:
        """The broker has taken us, but does not have yet what we need."""
        if what != self._said:
            self._said = what
            log.warning("waiting at the broker %s: %s", self._address, what)
        return LinkState("reconnecting" if before.epoch else "connecting", what, before.epoch)

    def over(self, before: LinkState) -> None:
        """A connection is there: the first, or again one."""
        if before.epoch == 0:
            log.info("connected to the broker %s", self._address)
        elif self._said:
            log.warning("the broker %s is there again", self._address)
        self._said = ""
