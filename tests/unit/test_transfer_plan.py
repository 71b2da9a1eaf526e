"""What a plan holds, and what it refuses before the first byte."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.transfers import Narrow, copied, place, planned, this_host, tree
from wlmctl.errors import NoSpace, NotFound, TaskFailed
from wlmctl.transfer import Source, Symlinks, plan
from wlmctl.transfer.endpoint import Spot


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a").write_text("A")
    (data / "sub" / "b").write_text("BB")
    return data


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    ("source", "to", "expected"),
    [
        ("data/a", "out", {"out": b"A"}),
        ("data/a", "out/", {"out": None, "out/a": b"A"}),
        ("data", "out/", {"out": None, "out/data": None, "out/data/a": b"A"}),
        ("data", "out", {"out": None, "out/a": b"A", "out/sub": None}),
        ("data/", "out", {"out": None, "out/a": b"A", "out/sub": None}),
        ("data/", "out/", {"out": None, "out/a": b"A", "out/sub": None}),
        ("data/a", "x/y/out", {"x": None, "x/y": None, "x/y/out": b"A"}),
    ],
)
def test_the_text_alone_decides_where_a_source_goes(
    tmp_path: Path, data: Path, source: str, to: str, expected: dict[str, bytes | None], exists: bool
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    if exists and expected.get("out") is None:
        (target / "out").mkdir()
    elif exists:
        (target / "out").write_text("old")
    copied(f"{tmp_path}/{source}", f"{target}/{to}")
    found = tree(target)
    assert {name: found.get(name, "missing") for name in expected} == expected


def test_a_plan_counts_files_and_bytes(tmp_path: Path, data: Path) -> None:
    made = planned(data, f"{tmp_path}/out/")
    assert (made.files, made.size_bytes) == (2, 3)
    assert made.new_roots == {f"{tmp_path}/out/data"}


@pytest.mark.parametrize("to", ["at/fifo", "at/"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, data: Path, to: str) -> None:
    (data / "a").rename(data / "fifo")
    (tmp_path / "at").mkdir()
    os.mkfifo(tmp_path / "at" / "fifo")
    with pytest.raises(TaskFailed, match=r"at/fifo: is a FIFO, a socket or a device, which is not replaced"):
        copied(data / "fifo", f"{tmp_path}/{to}")
    assert (tmp_path / "at" / "fifo").is_fifo()


@pytest.mark.parametrize(("source", "to"), [("data", "data/"), ("data/", "data/sub/new"), ("", "data/x")])
def test_a_folder_that_would_go_into_itself_is_refused(tmp_path: Path, data: Path, source: str, to: str) -> None:
    with pytest.raises(TaskFailed, match=f"would be copied into itself, as local:{tmp_path}/data/"):
        planned(f"{tmp_path}/{source}", f"{tmp_path}/{to}")


def test_a_folder_goes_into_what_is_excluded_of_it(tmp_path: Path, data: Path) -> None:
    for _ in range(2):
        copied(f"{data}/", f"{data}/sub/save", exclude=["save"])
    assert (data / "sub" / "save" / "a").read_text() == "A"
    assert not (data / "sub" / "save" / "sub" / "save").exists()
    assert planned(data, data).new_roots == frozenset(), "into itself by its own name it is only itself"


def test_a_missing_source_and_a_pattern_without_a_match_are_told(tmp_path: Path, data: Path) -> None:
    with pytest.raises(NotFound, match=f"local:{tmp_path}/nope: does not exist"):
        planned(tmp_path / "nope", f"{tmp_path}/out")
    with pytest.raises(NotFound, match=r"data/\*\.csv: nothing matches this pattern"):
        planned(f"{data}/*.csv", f"{tmp_path}/out/")
    with pytest.raises(NotFound, match="nothing matches"):
        planned(f"{data}/a*", f"{tmp_path}/out/", exclude=["a"])


def test_a_final_slash_after_a_file_is_an_error(tmp_path: Path, data: Path) -> None:
    with pytest.raises(TaskFailed, match="data/a: the final slash means a folder's contents"):
        planned(f"{data}/a/", f"{tmp_path}/out/")


def test_a_pattern_with_a_final_slash_means_the_contents_of_folders(tmp_path: Path, data: Path) -> None:
    copied(f"{data}/*/", f"{tmp_path}/out/")
    assert tree(tmp_path / "out") == {"b": b"BB"}


def test_several_sources_need_a_target_with_a_final_slash(tmp_path: Path, data: Path) -> None:
    with pytest.raises(TaskFailed, match="final slash"):
        planned([data / "a", data / "sub"], tmp_path / "out")


def test_two_sources_for_one_name_fail_before_anything_is_written(tmp_path: Path, data: Path) -> None:
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    (other / "a").write_text("x")
    with pytest.raises(TaskFailed, match=r"two sources for one name: local:.*data/a and local:.*other/a would both"):
        planned([data / "a", other / "a"], f"{tmp_path}/out/")
    with pytest.raises(TaskFailed, match="two sources for one name"):
        planned([data / "sub", other / "sub"], f"{tmp_path}/out/")
    with pytest.raises(TaskFailed, match="two sources for one name"):
        planned([f"{data}/", f"{other}/"], f"{tmp_path}/out/")
    assert not (tmp_path / "out").exists()


def test_contents_of_two_folders_share_folders_and_one_source_twice_is_one(tmp_path: Path, data: Path) -> None:
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    (other / "sub" / "c").write_text("C")
    copied([f"{data}/", f"{other}/"], f"{tmp_path}/out/")
    assert tree(tmp_path / "out") == {"a": b"A", "sub": None, "sub/b": b"BB", "sub/c": b"C"}
    assert planned([f"{data}/a*", f"{data}/?"], f"{tmp_path}/new/").files == 1


def test_a_folder_where_a_file_should_go_and_the_other_way_round(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(TaskFailed, match="out: is a folder, where a file should go"):
        planned(data / "a", out)
    (out / "data").write_text("x")
    with pytest.raises(TaskFailed, match="out/data: is a file, where a folder should go"):
        planned(data, f"{out}/")
    with pytest.raises(TaskFailed, match="is a file, and a folder is meant by the final slash"):
        planned(data / "a", f"{out}/data/")
    (out / "sub").mkdir()
    (out / "sub" / "b").mkdir()
    with pytest.raises(TaskFailed, match="sub/b: is a folder, where a file should go"):
        planned(f"{data}/", f"{out}/")


def test_special_files_are_refused_by_name_unless_excluded(tmp_path: Path, data: Path) -> None:
    os.mkfifo(data / "pipe")
    with pytest.raises(TaskFailed, match="data/pipe: is a FIFO, a socket or a device"):
        planned(data, f"{tmp_path}/out/")
    with pytest.raises(TaskFailed, match="data/pipe: is a FIFO"):
        planned(data / "pipe", f"{tmp_path}/out/")
    with pytest.raises(TaskFailed, match="null: is a FIFO"):
        planned("/dev/null", f"{tmp_path}/out/")
    assert planned(data, f"{tmp_path}/out/", exclude=["pipe"]).files == 2
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(data / "s"))
        with pytest.raises(TaskFailed, match="data/s: is a FIFO, a socket"):
            planned(data, f"{tmp_path}/out/", exclude=["pipe"])


def test_symlinks_are_kept_followed_or_refused(tmp_path: Path, data: Path) -> None:
    (data / "link").symlink_to("a")
    (data / "folder").symlink_to("sub")
    copied(data, f"{tmp_path}/kept/")
    assert tree(tmp_path / "kept" / "data") == {"a": b"A", "sub": None, "sub/b": b"BB", "link": "a", "folder": "sub"}
    copied(data, f"{tmp_path}/followed/", symlinks=Symlinks.FOLLOW)
    assert tree(tmp_path / "followed" / "data") == {
        "a": b"A", "sub": None, "sub/b": b"BB", "link": b"A", "folder": None, "folder/b": b"BB",
    }  # fmt: skip
    with pytest.raises(TaskFailed, match="is a symlink, and symlinks are refused here"):
        planned(data, f"{tmp_path}/refused/", symlinks=Symlinks.REFUSE)


def test_a_kept_symlink_replaces_what_was_there(tmp_path: Path, data: Path) -> None:
    (data / "link").symlink_to("elsewhere")
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").write_text("old")
    copied(data / "link", f"{out}/")
    copied(data / "link", f"{out}/", execution="e2")
    assert os.readlink(out / "link") == "elsewhere"


@pytest.mark.parametrize("text", ["a", "sub/../a", "{data}/a"])
def test_a_kept_symlink_never_replaces_what_it_points_at(tmp_path: Path, data: Path, text: str) -> None:
    (data / "link").symlink_to(text.format(data=data))
    with pytest.raises(TaskFailed, match=f"link: is a symlink to local:{data}/a, which it would replace"):
        copied(data / "link", data / "a")
    assert (data / "a").read_text() == "A"
    (data / "itself").symlink_to("itself")
    copied(data / "itself", data / "itself")
    copied(data / "link", data / "a", symlinks=Symlinks.FOLLOW)
    assert (data / "a").read_text() == "A"


def test_a_circle_of_followed_symlinks_and_a_dangling_one_are_told(tmp_path: Path, data: Path) -> None:
    (data / "sub" / "up").symlink_to("..")
    with pytest.raises(TaskFailed, match="lead round in a circle"):
        planned(data, f"{tmp_path}/out/", symlinks=Symlinks.FOLLOW)
    (data / "sub" / "up").unlink()
    (data / "dangling").symlink_to("nowhere")
    with pytest.raises(NotFound, match="data/dangling: is a symlink to what does not exist"):
        planned(data, f"{tmp_path}/out/", symlinks=Symlinks.FOLLOW)
    assert planned(data, f"{tmp_path}/out/").files == 3


def test_a_machine_that_cannot_make_symlinks_says_so_before_anything_is_written(tmp_path: Path, data: Path) -> None:
    (data / "link").symlink_to("a")
    with pytest.raises(TaskFailed, match="data/link: is a symlink, which plain cannot make"):
        planned(data, f"{tmp_path}/out/", target=place("plain", lambda: Narrow(this_host())))


def test_what_does_not_fit_is_told_before_the_first_byte(tmp_path: Path, data: Path) -> None:
    class Nearly(Narrow):
        def free_bytes(self, path: str) -> int | None:
            return 2

    with pytest.raises(NoSpace, match="3 bytes are needed and 2 are free"):
        planned(data, f"{tmp_path}/x/out/", target=place("nas", lambda: Nearly(this_host())))


def test_two_sources_on_different_machines_share_a_target(tmp_path: Path, data: Path) -> None:
    one, two = place("one"), place("two")
    made = plan(
        [Source(one, Spot(f"{data}/a")), Source(two, Spot(f"{data}/sub/b"))], place("to"), Spot(f"{tmp_path}/out", True)
    )
    assert [(item.place.name, Path(item.target).name) for item in made.items] == [("one", "a"), ("two", "b")]
