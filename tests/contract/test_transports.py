"""Each built-in transport against the shipped contract, the remote ones on real sshd processes."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wlmctl_transport_local import wlmctl_transports as local_transports
from wlmctl_transport_openssh import wlmctl_transports as openssh_transports
from wlmctl_transport_scp import wlmctl_transports as scp_transports
from wlmctl_transport_sftp import wlmctl_transports as sftp_transports

from tests.services.sshd import Farm, require_sshd
from wlmctl.errors import Denied, NoSpace
from wlmctl.machine import Machine
from wlmctl.testing.transport import TransportContract, content_of, info_of
from wlmctl.transport import Bulk, Copies, Digests, Links, Runs, Space, Transport


@pytest.fixture(scope="session")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """``filesonly`` has no shell, ``nosftp`` no SFTP, the login of ``noisy`` prints text at each start."""
    require_sshd()
    farm = Farm(tmp_path_factory.mktemp("unusual"), first=20)
    try:
        farm.add("filesonly", sftp_only=True)
        farm.add("nosftp", no_sftp=True)
        noisy = farm.add("noisy")
        (noisy.home / ".bashrc").write_text("echo Welcome to noisy\necho and beware >&2\n")
        yield farm
    finally:
        farm.close()


def open_transport(
    farm: Farm, name: str, transport: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Transport:
    monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(farm.write_inventory(folder).ssh_config))
    factories: Mapping[str, Any] = {
        **sftp_transports(), **scp_transports(), **local_transports(), **openssh_transports()
    }  # fmt: skip
    opened: Transport = factories[transport](Machine(name, host=name, transport=transport), options)
    return opened


class OnDisk(TransportContract):
    @pytest.fixture
    def folder(self, transport: Transport) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            yield folder

    def test_a_full_disk_is_no_space(self, transport: Transport) -> None:
        if not os.access("/dev/full", os.W_OK):
            pytest.skip("there is no /dev/full")
        with pytest.raises(NoSpace):
            run_full(transport)

    def test_what_the_login_may_not_write_is_denied(self, transport: Transport, folder: str) -> None:
        with closed(folder):
            with pytest.raises(Denied):
                transport.write(f"{folder}/f", [b"x"], info_of(b"x"))
            with pytest.raises(Denied):
                transport.makedirs(f"{folder}/d")

    def test_what_the_login_may_not_read_is_denied(self, transport: Transport, folder: str) -> None:
        unreadable = "/proc/sys/vm/drop_caches"  # mode 0200: not even root reads it
        if os.geteuid() != 0 or not os.path.exists(unreadable):
            unreadable = f"{folder}/f"
            transport.write(unreadable, [b"x"], info_of(b"x"))
            os.chmod(unreadable, 0)
        with pytest.raises(Denied):
            list(transport.read(unreadable))


@contextmanager
def closed(folder: str) -> Iterator[None]:
    """Nothing can be made in ``folder``: by its mode, for root by the immutable flag."""
    if os.geteuid() != 0:
        os.chmod(folder, 0o500)
        yield
        os.chmod(folder, 0o700)
        return
    if subprocess.run(["chattr", "+i", folder], check=False, capture_output=True).returncode != 0:
        pytest.skip("root may write everywhere, and this file system has no immutable flag")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def run_full(transport: Transport) -> None:
    """Fill a small file system of its own, where this user may mount one."""
    with small_disk() as disk:
        content = content_of(3 << 20)
        transport.write(f"{disk}/f", [content], info_of(content))


class small_disk:  # noqa: N801  a context manager, used like a function
    """A tmpfs of 1 MiB; skips where it may not be mounted."""

    def __enter__(self) -> str:
        self.folder = tempfile.mkdtemp()
        if os.system(f"mount -t tmpfs -o size=1m tmpfs {self.folder} 2>/dev/null") != 0:
            os.rmdir(self.folder)
            pytest.skip("may not mount a small file system")
        return self.folder

    def __exit__(self, *_: object) -> None:
        os.system(f"umount -l {self.folder}")  # the far side may still close its file
        os.rmdir(self.folder)


class TestLocal(OnDisk):
    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        with local_transports()["local"](Machine("local"), {}) as transport:
            yield transport


class TestSftp(OnDisk):
    @pytest.fixture
    def transport(self, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
        with open_transport(farm, "alpha", "sftp", tmp_path, monkeypatch) as transport:
            yield transport

    def test_it_offers_all_that_a_shell_and_openssh_allow(self, transport: Transport) -> None:
        assert all(isinstance(transport, protocol) for protocol in (Runs, Digests, Links, Space, Bulk))


class TestSftpWithoutShell(OnDisk):
    @pytest.fixture
    def transport(self, unusual: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
        with open_transport(unusual, "filesonly", "sftp", tmp_path, monkeypatch) as transport:
            yield transport

    def test_it_has_no_run(self, transport: Transport) -> None:
        assert not isinstance(transport, Runs)
        assert not isinstance(transport, Digests)

    def test_openssh_copies_a_file_on_its_own_side_without_a_shell(self, transport: Transport, folder: str) -> None:
        assert isinstance(transport, Copies)
        content = content_of(300_000)
        transport.write(f"{folder}/a", [content[:200_000], content[200_000:]], info_of(content))
        assert transport.copy(f"{folder}/a", f"{folder}/b", 100_000)
        assert b"".join(transport.read(f"{folder}/b")) == content[:100_000]


class TestScp(OnDisk):
    @pytest.fixture
    def transport(self, unusual: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
        with open_transport(unusual, "nosftp", "scp", tmp_path, monkeypatch) as transport:
            yield transport


class TestScpWithPosixToolsOnly(OnDisk):
    """As on a host without any ``stat``, ``tar`` and ``perl``."""

    @pytest.fixture
    def transport(self, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
        from wlmctl_transport_scp import listing, names

        monkeypatch.setattr(names, "_RENAME_ALL", names._RENAME_ALL.replace("perl", "no-such-program"))
        monkeypatch.setitem(listing._LOOKS, "gnu", listing._LOOKS[""])
        monkeypatch.setitem(listing._FOLLOWING, "gnu", listing._FOLLOWING[""])
        opened: Any = open_transport(farm, "alpha", "scp", tmp_path, monkeypatch)
        with opened as transport:
            transport._tools = replace(transport._tools, tar="")
            yield transport


@pytest.fixture(scope="module")
def logins() -> Iterator[dict[str, Transport]]:
    """Logins by ``ssh``, which takes long, shared by tests; one that was closed or broken is replaced."""
    logins: dict[str, Transport] = {}
    yield logins
    for login in logins.values():
        login.close()


class TestOpenssh(OnDisk):
    @pytest.fixture
    def transport(
        self, logins: dict[str, Transport], farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Transport:
        return shared(logins, farm, "alpha", tmp_path, monkeypatch)

    def test_it_offers_all_that_a_shell_and_openssh_allow(self, transport: Transport) -> None:
        assert all(isinstance(transport, protocol) for protocol in (Runs, Digests, Links, Space, Bulk))


class TestOpensshWithoutShell(OnDisk):
    @pytest.fixture
    def transport(
        self, logins: dict[str, Transport], unusual: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Transport:
        return shared(logins, unusual, "filesonly", tmp_path, monkeypatch)

    def test_it_has_no_run(self, transport: Transport) -> None:
        assert not isinstance(transport, Runs)
        assert not isinstance(transport, Digests)


def shared(
    logins: dict[str, Transport], farm: Farm, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Transport:
    if name not in logins or not logins[name].alive():  # type: ignore[attr-defined]
        logins[name] = open_transport(farm, name, "openssh", folder, monkeypatch)
    return logins[name]


@pytest.mark.parametrize("kind", ["sftp", "scp", "openssh"])
def test_what_a_login_prints_at_its_start_harms_nothing(
    unusual: Farm, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_transport(unusual, "noisy", kind, tmp_path, monkeypatch) as transport:
        assert isinstance(transport, Runs)
        done = transport.run("echo out; echo err >&2")
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
        content = content_of(100_000)
        path = str(tmp_path / "f")
        transport.write(path, [content], info_of(content))
        assert b"".join(transport.read(path)) == content
        assert [info.path for info in transport.walk(str(tmp_path))].count("f") == 1
