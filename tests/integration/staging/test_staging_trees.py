"""Staging between any two machines by any two protocols, over real sshd processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.staged import FAR, KINDS, ODD_NAMES, Ends
from tests.transfers import leftovers, spot, tree
from wlmctl.errors import NotFound, TaskFailed
from wlmctl.transfer import Progress, Source, Symlinks, Verify, copy, plan


@pytest.mark.parametrize("to", [*KINDS, "openssh"])
@pytest.mark.parametrize("source", [*KINDS, "openssh"])
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


@pytest.mark.parametrize(("source", "to"), [("local", "sftp"), ("scp", "local"), ("sftp", "scp")])
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
        for number in range(100):
            file.write(bytes([number]) * 1_000_000)
    made = ends.planned(source, big, to, ends.folder / "copy")
    before, most = resident_bytes(), 0

    def progress(_: Progress) -> None:
        nonlocal most
        most = max(most, resident_bytes())

    copy(made, execution="e1", progress=progress)
    assert (ends.folder / "copy").read_bytes() == big.read_bytes()
    assert most - before < 64_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
def test_a_second_copy_of_the_same_big_file_is_skipped_also_where_it_must_be_read_back(
    ends: Ends, data: Path, kind: str
) -> None:
    os.utime(data / "big", (1_700_000_000, 1_700_000_000))
    ends.copied("local", data / "big", kind, f"{ends.folder}/out/")
    again = ends.copied("local", data / "big", kind, f"{ends.folder}/out/", execution="e2")
    assert (again.skipped, again.sent_bytes) == (1, 0)
