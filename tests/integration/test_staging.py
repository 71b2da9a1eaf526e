"""Staging between any two machines by any two protocols, over real sshd processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.services.sshd import Farm, open_farm, require_sshd
from tests.transfers import leftovers, spot, tree
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.errors import Broken, Denied, NoSpace, NotFound, TaskFailed, Unreachable
from wlmctl.machine import Machine
from wlmctl.transfer import Place, Plan, Source, Summary, Symlinks, Verify, copy, plan

#: ``files`` is a machine without a shell.
KINDS = ["local", "sftp", "scp", "files"]
FAR = KINDS[1:]
ODD_NAMES = [
    "plain", "with space", "new\nline", "quo'te\"s", "$(touch pwned)", ";semi", "-dash", "*star", "[x]", "~tilde",
    "back\\slash", "tab\t", b"\xff\xfe".decode("utf-8", "surrogateescape"), "\u00fc\u4e2d", "x" * 240, ".dot",
]  # fmt: skip


@pytest.fixture(scope="module")
def own_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), ("sftp", "scp")) as farm:
        farm.add("files", sftp_only=True)
        yield farm


@dataclass
class Ends:
    """The ends of transfers by kind, and a folder for each."""

    farm: Farm
    pool: ConnectionPool
    folder: Path

    def machine(self, kind: str, connections: int = 4) -> Machine:
        if kind == "local":
            return Machine("local", transport="local")
        return Machine(
            kind, host=kind, transport="scp" if kind == "scp" else "sftp", max_connections=connections,
            transport_options={"timeout_s": 10},
        )  # fmt: skip

    def place(self, kind: str, connections: int = 4) -> Place:
        machine = self.machine(kind, connections)
        return Place(kind, machine.name, partial(self.pool.lease, machine), machine.is_local)

    def planned(self, source: str, what: object, to: str, where: object, symlinks: Symlinks = Symlinks.KEEP) -> Plan:
        sources = [Source(self.place(source), spot(str(what)))]
        return plan(sources, self.place(to), spot(str(where)), symlinks=symlinks)

    def copied(
        self, source: str, what: object, to: str, where: object, verify: Verify = Verify.SHA256, execution: str = "e1"
    ) -> Summary:
        return copy(self.planned(source, what, to, where), verify=verify, execution=execution)


@pytest.fixture
def ends(own_farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    inventory = own_farm.write_inventory(tmp_path / "inventory")
    for name, value in inventory.env.items():
        monkeypatch.setenv(name, value)
    pool = ConnectionPool(open_transport)
    yield Ends(own_farm, pool, tmp_path)
    pool.close_all()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "sub" / "empty").mkdir(parents=True)
    for name in ODD_NAMES:
        (data / "sub" / name).write_bytes(os.fsencode(name) * 3)
    (data / "big").write_bytes(os.urandom(2_500_000))
    (data / "nothing").touch()
    (data / "run").write_bytes(b"#!/bin/sh\n")
    (data / "run").chmod(0o755)
    os.utime(data / "run", (1_000_000_000, 1_000_000_000))
    (data / "link").symlink_to("sub/with space")
    (data / "dangling").symlink_to("no\nwhere")
    return data


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_a_tree_arrives_whole_between_any_two(ends: Ends, data: Path, source: str, to: str) -> None:
    fresh, there = ends.folder / "fresh out", ends.folder / "there"
    summary = ends.copied(source, data, to, f"{fresh}/")
    assert tree(fresh / "data") == tree(data)
    run = (fresh / "data" / "run").stat()
    assert (run.st_mode & 0o7777, run.st_mtime) == (0o755, 1_000_000_000)
    assert summary.files == len(ODD_NAMES) + 5
    there.mkdir()
    (there / "big").write_text("old")
    ends.copied(source, f"{data}/", to, there)
    assert tree(there) == tree(data)
    ends.copied(source, f"{data}/sub/new*", to, f"{fresh}/more/")
    assert tree(fresh / "more") == {"new\nline": b"new\nline" * 3}
    assert leftovers(ends.folder) == []


@pytest.mark.parametrize("verify", list(Verify))
@pytest.mark.parametrize("to", FAR)
def test_one_file_becomes_what_the_text_says(ends: Ends, data: Path, to: str, verify: Verify) -> None:
    ends.copied("local", data / "big", to, ends.folder / "a" / "b c", verify)
    assert (ends.folder / "a" / "b c").read_bytes() == (data / "big").read_bytes()
    ends.copied("local", data / "run", to, f"{ends.folder}/a/", verify)
    assert sorted(path.name for path in (ends.folder / "a").iterdir()) == ["b c", "run"]


@pytest.mark.parametrize(("source", "to"), [("local", "sftp"), ("scp", "local"), ("sftp", "scp"), ("files", "files")])
def test_a_tree_of_two_thousand_files_arrives(ends: Ends, source: str, to: str) -> None:
    data = ends.folder / "many"
    for number in range(2000):
        folder = data / f"d{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(b"%d" % number * 50)
    summary = ends.copied(source, f"{data}/", to, ends.folder / "out")
    assert summary.files == 2000
    assert tree(ends.folder / "out") == tree(data)


@pytest.mark.parametrize("kind", FAR)
def test_a_machine_with_one_connection_can_be_both_ends(ends: Ends, data: Path, kind: str) -> None:
    end = ends.place(kind, connections=1)
    made = plan([Source(end, spot(str(data)))], end, spot(f"{ends.folder}/out/"))
    copy(made, execution="e1")
    assert tree(ends.folder / "out" / "data") == tree(data)


@pytest.mark.parametrize(("source", "to"), [("sftp", "scp"), ("scp", "files")])
def test_a_relay_needs_little_memory(ends: Ends, source: str, to: str) -> None:
    big = ends.folder / "big"
    with big.open("wb") as file:
        for number in range(200):
            file.write(bytes([number]) * 1_000_000)
    made = ends.planned(source, big, to, ends.folder / "copy")
    before, most = resident_bytes(), 0

    def progress(*_: int) -> None:
        nonlocal most
        most = max(most, resident_bytes())

    copy(made, execution="e1", progress=progress)
    assert (ends.folder / "copy").read_bytes() == big.read_bytes()
    assert most - before < 64_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", FAR)
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("after_bytes", [0, 1_000_000, 2_400_000])
def test_a_killed_connection_is_told_and_a_second_try_succeeds(
    ends: Ends, data: Path, kind: str, way: str, after_bytes: int
) -> None:
    out = ends.folder / "out"
    out.mkdir()
    (out / "big").write_text("old")
    source, to = ("local", kind) if way == "up" else (kind, "local")
    made = ends.planned(source, data / "big", to, f"{out}/")
    killed = False

    def progress(done_bytes: int, *_: int) -> None:
        nonlocal killed
        if done_bytes >= after_bytes and not killed:
            killed = True
            ends.farm[kind].kill_sessions()

    told = ""
    try:
        copy(made, execution="e1", progress=progress)
    except (Broken, Unreachable) as error:
        told = str(error)
    if told:
        assert kind in told
        assert (out / "big").read_text() == "old"
    else:  # it was cut before it was opened, or after the last byte had come
        assert (out / "big").read_bytes() == (data / "big").read_bytes()
    assert killed
    assert leftovers(ends.folder) == []
    ends.copied(source, data / "big", to, f"{out}/", execution="e2")
    assert (out / "big").read_bytes() == (data / "big").read_bytes()


@pytest.mark.parametrize("kind", FAR)
@pytest.mark.parametrize("size_bytes", [1_000, 3_000_000])
def test_a_source_that_changes_size_while_it_is_read_is_named(
    ends: Ends, data: Path, kind: str, size_bytes: int
) -> None:
    made = ends.planned(kind, data / "big", "local", f"{ends.folder}/out/")

    def progress(done_bytes: int, *_: int) -> None:
        if done_bytes:
            os.truncate(data / "big", size_bytes)

    with pytest.raises(TaskFailed, match=f"{kind}:{data}/big: (shrank|grew)"):
        copy(made, execution="e1", progress=progress)
    assert tree(ends.folder / "out") == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["big", "sub"])
def test_a_full_disk_is_told_and_leaves_nothing(ends: Ends, data: Path, small_disk: Path, kind: str, name: str) -> None:
    (small_disk / "old").write_text("old")
    made = ends.planned("local", data / name, kind, f"{small_disk}/")
    (small_disk / "filling").write_bytes(bytes(4 * 1024 * 1024 - 12_288))
    with pytest.raises(NoSpace, match=f"^{kind}:"):
        copy(made, execution="e1")
    assert sorted(path.name for path in small_disk.iterdir()) == ["filling", "old"]


@pytest.mark.parametrize("kind", FAR)
def test_what_cannot_fit_is_told_before_the_first_byte(ends: Ends, data: Path, small_disk: Path, kind: str) -> None:
    (data / "big").write_bytes(bytes(5_000_000))
    with pytest.raises(NoSpace, match=f"{kind}:{small_disk}: 5,000,000 bytes are needed and 4,194,304 are free"):
        ends.planned("local", data / "big", kind, f"{small_disk}/a/b/")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_may_not_be_written_is_told(ends: Ends, data: Path, small_disk: Path, kind: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("big", "run", "sub"):
        with pytest.raises(Denied, match=f"^{kind}:{small_disk}"):
            ends.copied("local", data / name, kind, f"{small_disk}/")


@pytest.mark.parametrize("kind", FAR)
def test_special_and_missing_files_are_told_by_name(ends: Ends, data: Path, kind: str) -> None:
    os.mkfifo(data / "pipe")
    with pytest.raises(TaskFailed, match=f"{kind}:{data}/pipe: is a FIFO"):
        ends.planned(kind, data, "local", f"{ends.folder}/out/")
    with pytest.raises(TaskFailed, match=f"{kind}:{data}/pipe: is a FIFO"):
        ends.planned(kind, data / "pipe", "local", f"{ends.folder}/out/")
    with pytest.raises(NotFound, match=f"{kind}:{data}/nope: does not exist"):
        ends.planned(kind, data / "nope", "local", f"{ends.folder}/out/")
    with pytest.raises(NotFound, match="nothing matches"):
        ends.planned(kind, data / "*.csv", "local", f"{ends.folder}/out/")


@pytest.mark.parametrize("kind", FAR)
def test_symlinks_are_followed_on_a_far_machine(ends: Ends, data: Path, kind: str) -> None:
    (data / "dangling").unlink()
    (data / "folder").symlink_to("sub")
    made = ends.planned(kind, data, "local", f"{ends.folder}/out/", Symlinks.FOLLOW)
    copy(made, execution="e1")
    out = ends.folder / "out" / "data"
    assert (out / "link").read_bytes() == (data / "link").read_bytes()
    assert tree(out / "folder") == tree(data / "sub")
    with pytest.raises(TaskFailed, match="symlinks are refused here"):
        ends.planned(kind, data, "local", f"{ends.folder}/other/", Symlinks.REFUSE)


@pytest.mark.parametrize("kind", FAR)
def test_a_second_copy_of_the_same_big_file_is_skipped_where_both_ends_can_hash(
    ends: Ends, data: Path, kind: str
) -> None:
    os.utime(data / "big", (1_700_000_000, 1_700_000_000))
    ends.copied("local", data / "big", kind, f"{ends.folder}/out/")
    again = ends.copied("local", data / "big", kind, f"{ends.folder}/out/", execution="e2")
    assert again.skipped == (0 if kind == "files" else 1)
    assert again.read_back == (1 if kind == "files" else 0)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("source", "to"), [("local", "local"), ("sftp", "local"), ("scp", "local"), ("local", "sftp")])
def test_a_sparse_file_of_five_gib_arrives(ends: Ends, source: str, to: str) -> None:
    size_bytes = 5 * 1024**3
    room = os.statvfs(ends.folder)
    if to != "local" and room.f_bavail * room.f_frsize < size_bytes * 1.2:
        pytest.skip("less than 6 GiB are free here")
    with (ends.folder / "sparse").open("wb") as file:
        file.truncate(size_bytes)
        for offset in (0, 2**31 - 5, 2**32 - 5, size_bytes - 4):
            file.seek(offset)
            file.write(b"data")
    ends.copied(source, ends.folder / "sparse", to, ends.folder / "copy", Verify.SIZE)
    assert subprocess.run(["cmp", ends.folder / "sparse", ends.folder / "copy"], check=False).returncode == 0
