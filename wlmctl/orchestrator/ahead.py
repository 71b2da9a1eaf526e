"""What an orchestrator asks first when others have written: all at once, where each question takes its time."""

from __future__ import annotations

from wlmctl.store import experiments, host_keys, logs, machines, series, workers
from wlmctl.store.database import Question


def of_others(now_s: float, *, is_leader: bool) -> list[Question]:
    """What is asked whatever they have written."""
    questions = [logs.followed_question(now_s), machines.BY_USERS, machines.AWAY]
    if is_leader:
        questions += [series.GOING_ON, host_keys.ALL, experiments.GOING_ON, workers.TO_DRAIN]
    return questions
