"""One consumed queue of one channel: a credit, made of consumers.

``basic.qos`` does not reach a consumer that exists, so credit is raised by adding a consumer with the difference, and
lowered by cancelling some. What a cancelled consumer still holds unacked (its orphans) no longer counts for the broker:
new consumers get only the credit that the orphans leave, and the rest as those are acked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

_tags = itertools.count(1)


@dataclass(slots=True)
class Consumer:
    """One AMQP consumer; ``credit`` 0 is without credit and ack. ``waited``: ticks without the broker's answer."""

    tag: str
    credit: int
    unacked: int = 0
    waited: int = 0
    is_there: bool = False

    def answered(self, _frame: object) -> None:
        """The broker has entered it."""
        self.is_there = True


@dataclass(slots=True)
class Plan:
    """What to do to come to the wanted credit."""

    cancel: list[Consumer] = field(default_factory=list)
    add: Consumer | None = None


class Subscription:
    """The state of one consumed queue; says what to do, does nothing itself."""

    def __init__(self, queue: str, credit: int | None, gone: Callable[[], None] | None) -> None:
        self.queue, self.credit, self.gone = queue, credit, gone
        self.consumers: dict[str, Consumer] = {}
        self.orphans = 0
        self.served_at_s = 0.0
        self.is_suspect = False
        self.is_looking = self.is_known = self.is_refused = False
        self.waits_for = ""

    def reset(self) -> None:
        """All consumers and deliveries are gone, with their channel."""
        self.consumers.clear()
        self.orphans = 0
        self.is_suspect = self.is_looking = False

    def plan(self) -> Plan:
        """The consumers to cancel and the one to add; they are entered here as done."""
        if self.credit is None:
            return self._add(0) if not self.consumers else Plan()
        active = sum(consumer.credit for consumer in self.consumers.values())
        if active > self.credit:
            plan = Plan(self._choose(active - self.credit))
            for consumer in plan.cancel:
                self.drop(consumer.tag)
            plan.add = self.plan().add
            return plan
        missing = self.credit - active - self.orphans
        if missing > 0 and (missing >= max(1, self.credit // 8) or not self.orphans):
            return self._add(missing)
        return Plan()

    def drop(self, tag: str) -> None:
        """A consumer is cancelled: what it holds are orphans now."""
        if (consumer := self.consumers.pop(tag, None)) is not None:
            self.orphans += consumer.unacked

    def delivered(self, tag: str, now_s: float) -> None:
        """A message came."""
        self.served_at_s, self.is_suspect = now_s, False
        if (consumer := self.consumers.get(tag)) is None:
            self.orphans += 1
        else:
            consumer.unacked += 1

    def acked(self, tag: str) -> None:
        """A message is done with, or handed back."""
        if (consumer := self.consumers.get(tag)) is None:
            self.orphans = max(0, self.orphans - 1)
        else:
            consumer.unacked -= 1

    def waits_too_long(self, patience: int) -> bool:
        """Called once a tick: True each time a consumer has waited so many ticks for the broker's answer."""
        waiting = [consumer for consumer in self.consumers.values() if not consumer.is_there]
        for consumer in waiting:
            consumer.waited += 1
        return any(consumer.waited % patience == 0 for consumer in waiting)

    def has_room(self) -> bool:
        """True when the broker could give out a message."""
        if self.credit is None:
            return True
        return any(consumer.unacked < consumer.credit for consumer in self.consumers.values())

    def _add(self, credit: int) -> Plan:
        consumer = Consumer(f"wlm-{next(_tags)}", credit)
        self.consumers[consumer.tag] = consumer
        return Plan(add=consumer)

    def _choose(self, excess: int) -> list[Consumer]:
        """Consumers that give ``excess`` or more credit: one that fits and holds least, else the youngest."""
        fitting = [consumer for consumer in self.consumers.values() if consumer.credit == excess]
        if fitting:
            return [min(fitting, key=lambda consumer: consumer.unacked)]
        chosen = []
        for consumer in reversed(self.consumers.values()):
            chosen.append(consumer)
            excess -= consumer.credit
            if excess <= 0:
                break
        return chosen
