"""What may not be read or written, for logins that are bound by modes: root's, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sshd import OBEYING_MODES, Farm, require_sshd
from tests.staged import Ends, content, is_told_in_a_line
from tests.transfers import leftovers
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.errors import Denied
from wlmctl.transfer import Summary

TRANSPORTS = ["sftp", "scp", "files"]


@pytest.fixture(scope="module")
def bound_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    if OBEYING_MODES and not shutil.which(OBEYING_MODES[0]):
        pytest.skip("for root these need setpriv (Debian: util-linux)")
    farm = Farm(tmp_path_factory.mktemp("farm"), first=70)
    try:
        for name in TRANSPORTS:
            farm.add(name, command=OBEYING_MODES, sftp_only=name == "files")
        yield farm
    finally:
        farm.close()


@pytest.fixture
def bound(bound_farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    for name, value in bound_farm.write_inventory(tmp_path / "inventory").env.items():
        monkeypatch.setenv(name, value)
    ends = Ends(bound_farm, ConnectionPool(open_transport), tmp_path)
    yield ends
    ends.close()
    for path in tmp_path.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_every_entry_that_cannot_be_read_is_named_and_nothing_is_delivered(bound: Ends, data: Path, kind: str) -> None:
    for name in ("big", "run", "sub/-dash"):
        (data / name).chmod(0)
    error = bound.tried(kind, data, "local", bound.folder / "out")
    assert isinstance(error, Denied), error
    assert is_told_in_a_line(error)
    for name in ("big", "run", "sub/-dash"):
        assert f"{data}/{name}" in str(error)
    (data / "closed").mkdir(0)
    (data / "sub" / "closed").mkdir(0)
    error = bound.tried(kind, data, "local", bound.folder / "out")
    assert isinstance(error, Denied), error
    assert is_told_in_a_line(error)
    assert f"{data}/closed" in str(error)
    assert f"{data}/sub/closed" in str(error)
    assert content(bound.folder / "out") is None
    assert leftovers(bound.folder) == []


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_folder_that_is_excluded_need_not_be_readable(bound: Ends, data: Path, kind: str) -> None:
    for name in ("closed", "sub/closed", "sub/shut"):
        (data / name).mkdir(0)
    made = bound.planned(kind, data, "local", bound.folder / "out", exclude=["closed/", "/sub/shut"])
    assert isinstance(bound.carried_out(made), Summary)
    for name in ("closed", "sub/closed", "sub/shut"):
        (data / name).rmdir()
    assert content(bound.folder / "out") == content(data)
    (data / "closed").mkdir(0)
    (data / "sub" / "shut").mkdir(0)
    (data / "sub" / "other").mkdir(0)
    with pytest.raises(Denied) as told:
        bound.planned(kind, data, "local", bound.folder / "out", exclude=["closed"])
    named = str(told.value).removeprefix("cannot be read: ").split(", ")
    assert sorted(named) == [f"{kind}:{data}/sub/other", f"{kind}:{data}/sub/shut"]


@pytest.mark.parametrize("what", ["big", "run"])
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_permission_that_is_lost_in_between_is_told_and_delivers_nothing(
    bound: Ends, data: Path, kind: str, what: str
) -> None:
    out = bound.folder / "there" / "out"
    out.parent.mkdir()
    out.write_text("old")
    made = bound.planned(kind, data / what, "local", out)
    (data / what).chmod(0)
    error = bound.carried_out(made)
    assert isinstance(error, Denied), error
    assert str(error).startswith(f"{kind}:{data}/{what}: ")
    (data / what).chmod(0o644)
    made = bound.planned("local", data / what, kind, out)
    out.parent.chmod(0o555)
    error = bound.carried_out(made)
    assert isinstance(error, Denied), error
    assert str(error).startswith(f"{kind}:{out.parent}")
    assert is_told_in_a_line(error)
    assert out.read_text() == "old"
    assert leftovers(bound.folder) == []
    out.parent.chmod(0o755)
    assert isinstance(bound.tried("local", data / what, kind, out), Summary)
    assert content(out) == content(data / what)


def test_on_this_host_too_every_entry_that_cannot_be_read_is_named(data: Path, tmp_path: Path) -> None:
    for name in ("big", "run", "sub/-dash"):
        (data / name).chmod(0)
    config = tmp_path / "wlmctl.toml"
    config.write_text('store = "sqlite:///wlmctl.db"\n')
    copying = [*OBEYING_MODES, sys.executable, "-m", "wlmctl", "copy", f"local:{data}", "local:out"]
    ended = subprocess.run(copying, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    for name in ("big", "run", "sub/-dash"):
        assert f"{data}/{name}" in ended.stderr
    assert not (tmp_path / "out").exists()
