"""Every kind of message that orchestrator and workers tell one another."""

from __future__ import annotations

from wlmctl.message.orders import (
    CleanMessage,
    CloseIdleMessage,
    DrainMessage,
    EndMessage,
    GrantMessage,
    MarkMessage,
    PollMessage,
    ProbeMessage,
    StopMessage,
    TaskMessage,
)
from wlmctl.message.reports import (
    AskMessage,
    CleanedMessage,
    ClosedMessage,
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    PermitsBackMessage,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
)

#: The kinds that workers send.
REPORTS = frozenset(
    report.kind
    for report in (
        AskMessage,
        CleanedMessage,
        ClosedMessage,
        GoodbyeMessage,
        HeartbeatMessage,
        HeldMessage,
        PermitsBackMessage,
        PollAnswerMessage,
        ProbeAnswerMessage,
        ResultMessage,
        ReturnedMessage,
        StartedMessage,
    )
)

Message = (
    TaskMessage
    | StopMessage
    | PollMessage
    | EndMessage
    | ProbeMessage
    | CleanMessage
    | ResultMessage
    | PollAnswerMessage
    | StartedMessage
    | ProbeAnswerMessage
    | CleanedMessage
    | ClosedMessage
    | MarkMessage
    | DrainMessage
    | AskMessage
    | GrantMessage
    | PermitsBackMessage
    | CloseIdleMessage
    | HeartbeatMessage
    | HeldMessage
    | ReturnedMessage
    | GoodbyeMessage
)
