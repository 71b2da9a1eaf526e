"""One dispatch in a worker: its delivery, how far it is, and with which others it may be executed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from wlmctl.broker.contract import Delivery
from wlmctl.message import TaskMessage
from wlmctl.plugins import gathers, moves_data

if TYPE_CHECKING:
    from wlmctl.worker.context import ExecutionContext
    from wlmctl.worker.outbox import Parcel


class Stage(Enum):
    """How far a dispatch is. ``OVER``: it has ended, or was taken back before it began."""

    WAITING = "waiting"
    BEGUN = "begun"
    OVER = "over"


class Dispatch:
    """One dispatch of one delivery. ``fellows``: what came in it, itself included, and is not settled yet."""

    __slots__ = ("arrived_s", "began_s", "company", "context", "delivery", "fellows", "has_begun", "is_answered",
                 "is_leased", "is_led", "is_overlong", "message", "moves", "share", "stage", "started")  # fmt: skip

    def __init__(self, message: TaskMessage, delivery: Delivery, arrived_s: float) -> None:
        self.message, self.delivery, self.arrived_s = message, delivery, arrived_s
        self.fellows = {self}
        #: Which part of its delivery it is.
        self.share = 1.0
        #: Its task type moves data.
        self.moves = moves_data(message.type)
        #: Those with the same name here are executed together; None: it is executed alone.
        self.company = _company(message)
        #: It is executed in the slot of another one.
        self.is_led = False
        self.stage, self.began_s = Stage.WAITING, 0.0
        self.has_begun = self.is_overlong = self.is_leased = self.is_answered = False
        self.context: ExecutionContext | None = None
        self.started: Parcel | None = None


def together(dispatches: Sequence[Dispatch]) -> Sequence[Dispatch]:
    """These came in one delivery."""
    if len(dispatches) > 1:
        fellows = set(dispatches)
        for dispatch in dispatches:
            dispatch.fellows, dispatch.share = fellows, 1 / len(dispatches)
    return dispatches


def settled(dispatches: Iterable[Dispatch]) -> list[Delivery]:
    """What is to be acked now that nothing more will be said of these: deliveries of which none is left."""
    done = []
    for dispatch in dispatches:
        dispatch.fellows.discard(dispatch)
        if not dispatch.fellows:
            done.append(dispatch.delivery)
    return done


def _company(message: TaskMessage) -> tuple[str, str] | None:
    """What is to be done with care, or is to end something, is done alone."""
    if message.cancel or message.careful or message.alone or len(message.machines) != 1:
        return None
    (machine,) = message.machines.values()
    return (message.type, machine.name) if gathers(message.type, machine) else None
