"""The batch system ``shell`` keeps the contract: by spawn on this host, by commands here, and over SSH."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.commands_only import CommandsOnly
from tests.services.sshd import Farm
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.testing.batch import BatchContract, Jobs

GRACE_S = 1.0


class TestShellBySpawn(BatchContract):
    """On this host, where a job is one spawn and a poll reads its files."""

    @pytest.fixture
    def jobs(self, tmp_path: Path) -> Jobs:
        machine = Machine("local", kill_grace_s=GRACE_S)
        return Jobs(batch_factory("shell")(machine, {}), transport_factory("local")(machine, {}), str(tmp_path))


class TestShellByCommands(BatchContract):
    """As on a machine with a login, but without one."""

    @pytest.fixture
    def jobs(self, tmp_path: Path) -> Jobs:
        machine = Machine("local", kill_grace_s=GRACE_S)
        transport = CommandsOnly(transport_factory("local")(machine, {}))
        return Jobs(batch_factory("shell")(machine, {}), transport, str(tmp_path))


class TestShellOverSsh(BatchContract):
    """On a machine behind an sshd, with the shell that is found there."""

    @pytest.fixture
    def jobs(self, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
        inventory = farm.write_inventory(tmp_path / "inventory")
        for name, value in inventory.env.items():
            monkeypatch.setenv(name, value)
        machine = Machine("alpha", host="alpha", kill_grace_s=GRACE_S)
        with transport_factory("sftp")(machine, {}) as transport:
            yield Jobs(batch_factory("shell")(machine, {}), transport, str(tmp_path / "a scratch"))


class TestShellWithOtherTools(BatchContract):
    """Our own shell texts are POSIX: bash and busybox understand them as dash does."""

    @pytest.fixture(params=["bash", "busybox"])
    def jobs(self, request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
        program = shutil.which(request.param)
        if program is None:
            pytest.skip(f"no {request.param} here")
        tools = tmp_path / "tools"
        tools.mkdir()
        names = ["sh"]
        if request.param == "busybox":
            applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
            names = [name for name in applets if name != "bash"]
        for name in names:
            (tools / name).symlink_to(program)
        machine = Machine("local", kill_grace_s=GRACE_S)
        environment = f"PATH={tools}:$PATH; export PATH; exec sh -c "
        transport = CommandsOnly(transport_factory("local")(machine, {}), environment, as_one_word=True)
        return Jobs(batch_factory("shell")(machine, {}), transport, str(tmp_path))
