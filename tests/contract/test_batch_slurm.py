"""The batch system ``slurm`` keeps the contract on a real Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.commands_only import CommandsOnly
from tests.services.slurm import Slurm
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.testing.batch import BatchContract, Jobs


class TestSlurm(BatchContract):
    """Two nodes, and commands on this host as on a login node."""

    @pytest.fixture
    def jobs(self, slurm: Slurm, tmp_path: Path) -> Jobs:
        machine = Machine("cluster", kill_grace_s=1.0, shell="sh")
        transport = CommandsOnly(transport_factory("local")(Machine("local"), {}), slurm.environment)
        return Jobs(batch_factory("slurm")(machine, {"lost_after": "2s"}), transport, str(tmp_path / "a scratch"))
