"""The batch systems ``sge``, ``pbs`` and ``lsf`` keep the contract: a real Grid Engine, and fakes of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.commands_only import CommandsOnly
from tests.services.fake_queue import FakeQueue
from tests.services.gridengine import GridEngine
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.testing.batch import BatchContract, Jobs

pytestmark = pytest.mark.long


def login(system: str, environment: str, scratch: Path) -> Jobs:
    """Commands on this host as on a login node."""
    machine = Machine("cluster", kill_grace_s=1.0, shell="sh")
    transport = CommandsOnly(transport_factory("local")(Machine("local"), {}), environment)
    return Jobs(batch_factory(system)(machine, {"lost_after": "2s"}), transport, str(scratch))


class TestGridEngine(BatchContract):
    @pytest.fixture
    def jobs(self, gridengine: GridEngine, tmp_path: Path) -> Jobs:
        return login("sge", gridengine.environment, tmp_path / "a scratch, it's")


class TestFakes(BatchContract):
    @pytest.fixture
    def jobs(self, fake_queue: FakeQueue, tmp_path: Path) -> Jobs:
        return login(fake_queue.system, fake_queue.environment, tmp_path / "a scratch")
