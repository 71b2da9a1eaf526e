"""Messages between orchestrator and workers, and how they become bodies of deliveries."""

from wlmctl.message.codec import SCHEMA, UndecodableMessage, decode, encode
from wlmctl.message.kinds import (
    Answer,
    CleanedMessage,
    CleanMessage,
    Deferral,
    EndMessage,
    Message,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    ResultMessage,
    StartedMessage,
    StopMessage,
    TaskKey,
    TaskMessage,
)

__all__ = [
    "SCHEMA",
    "Answer",
    "CleanMessage",
    "CleanedMessage",
    "Deferral",
    "EndMessage",
    "Message",
    "Outcome",
    "PollAnswerMessage",
    "PollMessage",
    "ProbeAnswerMessage",
    "ProbeMessage",
    "ResultMessage",
    "StartedMessage",
    "StopMessage",
    "TaskKey",
    "TaskMessage",
    "UndecodableMessage",
    "decode",
    "encode",
]
