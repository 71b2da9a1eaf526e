"""A machine behind the system's own ``ssh``, as commands use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.sshd import Farm
from tests.transfers import leftovers, tree


@pytest.fixture
def wlmctl(farm: Farm, tmp_path: Path) -> CommandLine:
    """``alpha`` by openssh, ``beta`` by scp."""
    inventory = farm.write_inventory(tmp_path / "here", transports={"alpha": "openssh", "beta": "scp"})
    return CommandLine(inventory.folder, inventory.env)


def test_copies_go_up_across_and_down(wlmctl: CommandLine, farm: Farm, tmp_path: Path) -> None:
    data = wlmctl.folder / "data"
    (data / "sub dir").mkdir(parents=True)
    (data / "sub dir" / "big").write_bytes(b"0123456789" * 200_000)
    (data / "sub dir" / "link").symlink_to("big")
    (data / "run").write_text("#!/bin/sh\n")
    (data / "run").chmod(0o750)
    name = tmp_path.name
    wlmctl.run("copy", "local:data", f"alpha:{name}/")
    assert "there already" in wlmctl.run("copy", "local:data", f"alpha:{name}/").stdout
    wlmctl.run("copy", f"alpha:{name}/data/", f"beta:{name}/across")
    wlmctl.run("copy", f"beta:{name}/across", f"alpha:{name}/back")
    for folder in (farm["alpha"].home / name / "data", farm["beta"].home / name / "across"):
        assert tree(folder) == tree(data)
        assert (folder / "run").stat().st_mode & 0o777 == 0o750
    assert tree(farm["alpha"].home / name / "back") == tree(data)
    assert leftovers(farm["alpha"].home / name) == []


def test_it_is_tested_by_its_own_login_and_takes_jobs(wlmctl: CommandLine) -> None:
    told = wlmctl.run("machine", "test", "alpha").stdout
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert any(line.startswith("alpha scratch ok") for line in lines)
    assert "alpha sha256 ok the host computes it" in lines
    wlmctl.write(
        "e.yaml",
        "name: through\ntasks:\n  job: {type: job, machine: alpha, command: 'echo from $WLMCTL_TASK'}\n",
    )
    wlmctl.run("run", "e.yaml")
    (row,) = wlmctl.json("status")["experiments"]
    assert wlmctl.run("logs", row["id"], "job").stdout.endswith("from job\n")
