"""The extra ``solver`` of ``matchmaking``: the same answers sooner, more tasks on machines, nothing imported unasked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wlmctl_scheduler_matchmaking.flow import Flow
from wlmctl_scheduler_matchmaking.slots import in_turn
from wlmctl_scheduler_matchmaking.solver import at_once

from tests.unit.test_matchmaking_properties import decide, quickly, slot_snapshots, transports
from wlmctl.errors import ConfigError
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Snapshot
from wlmctl.testing.builders import random_snapshot

needs_ortools = pytest.mark.skipif(find_spec("ortools") is None, reason="the extra solver is not installed")


@needs_ortools
@settings(max_examples=150, deadline=None, derandomize=True)
@given(slot_snapshots(), st.sampled_from([0.0, 1.0, 30.0]), st.sampled_from([None, "pack", "spread"]))
def test_both_solvers_give_the_same_decision(snapshot: Snapshot, hours: float, placement: str | None) -> None:
    aged = replace(
        snapshot,
        groups=tuple(replace(group, age_s=number % 3 * hours * 3600.0) for number, group in enumerate(snapshot.groups)),
    )
    options: dict[str, Any] = {} if placement is None else {"placement": placement}
    assert decide(aged, solver="ortools", **options) == decide(aged, solver="python", **options)


@needs_ortools
@quickly
@given(st.integers(0, 10_000))
def test_so_they_do_where_machines_and_caps_limit(seed: int) -> None:
    assert decide(random_snapshot(seed), solver="ortools") == decide(random_snapshot(seed), solver="python")


@needs_ortools
@settings(max_examples=150, deadline=None, derandomize=True)
@given(transports())
def test_both_send_the_same_tasks_of_every_round(
    problem: tuple[list[int], list[int], list[int], list[list[tuple[int, int]]]],
) -> None:
    slots, _, able, rounds = problem
    sent = []
    for solve in (in_turn, at_once):
        flow = Flow(slots, [0] * len(slots), limit=10**9)
        for each in able:
            flow.add(each)
        sent.append(solve(flow, rounds))
        for number, held in enumerate(flow.held):
            assert sum(held.values()) + flow.left[number] == slots[number]
            assert all(able[demand] >> number & 1 for demand in held)
    assert sent[0] == sent[1]


def test_what_is_not_installed_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    with pytest.raises(ConfigError) as caught:
        scheduler_factory("matchmaking")({"solver": "ortools"})
    assert str(caught.value).startswith(
        "scheduler_options.solver: OR-tools is not installed, expected pip install 'wlmctl[solver]'"
    )
    assert decide(random_snapshot(1), solver="auto") == decide(random_snapshot(1), solver="python")


def test_a_small_decision_imports_nothing_of_the_extra() -> None:
    code = (
        "import sys; from wlmctl.plugins import scheduler_factory; from wlmctl.testing.builders import random_snapshot;"
        "scheduler_factory('matchmaking')({}).assign(random_snapshot(1));"
        "print(sorted({'ortools', 'highspy', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
