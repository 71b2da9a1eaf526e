"""A disk that is full, fills up, has a quota, or may not be written any more: told in a line, and nothing is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.staged import FAR, KINDS, RETRIED, WITH_OPENSSH, Ends, is_told_in_a_line
from tests.transfers import leftovers, tree
from wlmctl.errors import Broken, Denied, NoSpace, NotFound
from wlmctl.transfer import Progress, Summary, copy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["big", "sub"])
def test_a_full_disk_is_told_and_leaves_nothing(ends: Ends, data: Path, small_disk: Path, kind: str, name: str) -> None:
    (small_disk / "old").write_text("old")
    made = ends.planned("local", data / name, kind, f"{small_disk}/")
    (small_disk / "filling").write_bytes(bytes(4 * 1024 * 1024 - 12_288))
    with pytest.raises(NoSpace, match=f"^{kind}:") as told:
        copy(made, execution="e1")
    assert is_told_in_a_line(told.value)
    assert sorted(path.name for path in small_disk.iterdir()) == ["filling", "old"]


@pytest.mark.parametrize("kind", WITH_OPENSSH)
@pytest.mark.parametrize("left_bytes", [400_000, 2_495_000])
def test_a_disk_of_this_host_or_a_far_one_that_fills_in_mid_file_keeps_the_old_file(
    ends: Ends, data: Path, small_disk: Path, kind: str, left_bytes: int
) -> None:
    for source, to in ((kind, "local"), ("local", kind)):
        (small_disk / "big").write_text("old")
        made = ends.planned(source, data / "big", to, f"{small_disk}/")
        room = os.statvfs(small_disk)
        (small_disk / "filling").write_bytes(bytes(room.f_bavail * room.f_frsize - left_bytes))
        error = ends.carried_out(made)
        assert isinstance(error, NoSpace), error
        assert str(error).startswith(f"{to}:{small_disk}/big: ")
        assert is_told_in_a_line(error)
        assert sorted(path.name for path in small_disk.iterdir()) == ["big", "filling"]
        assert (small_disk / "big").read_text() == "old"
        (small_disk / "filling").unlink()
        assert isinstance(ends.tried(source, data / "big", to, f"{small_disk}/"), Summary)
        assert (small_disk / "big").read_bytes() == (data / "big").read_bytes()
        (small_disk / "big").unlink()


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_becomes_read_only_in_between_is_told_and_the_old_file_stays(
    ends: Ends, data: Path, small_disk: Path, kind: str
) -> None:
    """Root may write wherever a mode forbids it; a read-only mount forbids it to everyone."""
    (small_disk / "big").write_text("old")
    made = ends.planned("local", data / "big", kind, f"{small_disk}/")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    error = ends.carried_out(made)
    assert isinstance(error, Denied), error
    assert str(error).startswith(f"{kind}:{small_disk}")
    assert is_told_in_a_line(error)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert (small_disk / "big").read_text() == "old"
    assert leftovers(small_disk) == []
    assert isinstance(ends.tried("local", data / "big", kind, f"{small_disk}/"), Summary)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remove_temporary(folder: Path) -> None:
    for path in leftovers(folder):
        path.unlink()


@pytest.mark.parametrize("lose", [remove_temporary, unmount])
@pytest.mark.parametrize("kind", FAR)
def test_a_temporary_file_that_is_gone_before_its_rename_delivers_nothing(
    ends: Ends, data: Path, small_disk: Path, kind: str, lose: Callable[[Path], None]
) -> None:
    made = ends.planned("local", data / "big", kind, f"{small_disk}/big")
    lost = False

    def progress(now: Progress) -> None:
        nonlocal lost
        if now.bytes_done == now.bytes_total and not lost:
            lost = True
            lose(small_disk)

    with pytest.raises((NotFound, Denied, NoSpace, *RETRIED)) as told:
        copy(made, execution="e1", progress=progress)
    assert is_told_in_a_line(told.value)
    assert lost
    assert tree(small_disk) == {}
    if lose is unmount:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(small_disk)], check=True)


@pytest.fixture
def quota_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which the owner of its content may have 1 MiB, where kernel, tools and rights allow that."""
    image, folder = tmp_path / "image", tmp_path / "quota"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = [
        ["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", str(image)],
        ["mount", "-o", "loop,prjquota", str(image), str(folder)],
        ["chattr", "-p", "7", "+P", str(folder)],
        ["setquota", "-P", "7", "0", "1024", "0", "0", str(folder)],
    ]
    try:
        for command in made:
            try:
                done = subprocess.run(command, capture_output=True, check=False, text=True)
            except FileNotFoundError:
                pytest.skip(f"no {command[0]} here (Debian: quota, e2fsprogs)")
            if done.returncode:
                pytest.skip(f"no project quota here: {done.stderr.strip()}")
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_is_told_and_leaves_nothing(ends: Ends, data: Path, quota_disk: Path, kind: str) -> None:
    error = ends.tried("local", data / "big", kind, f"{quota_disk}/")
    # SFTP has no word for it, and the file system may say that there is room
    assert isinstance(error, (NoSpace, Broken)), error
    assert is_told_in_a_line(error)
    assert tree(quota_disk) == {"lost+found": None}
