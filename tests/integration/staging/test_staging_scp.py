"""What only the scp transport meets: one command for many files, and a far side that takes content for orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.staged import Ends
from wlmctl.errors import Denied
from wlmctl.testing.transport import info_of
from wlmctl.transport import Bulk


def test_content_is_never_taken_for_orders_when_a_file_before_it_is_refused(ends: Ends, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    (folder / "refused" / "full").mkdir(parents=True)
    orders = b"C0755 5 planted\nhello\0E\n"
    files = [("first", b"1"), ("refused", orders), ("last", orders)]
    with ends.place("scp").lease() as transport:
        assert isinstance(transport, Bulk)
        with pytest.raises(Denied, match="refused"):
            transport.write_many((f"{folder}/{name}", content, info_of(content)) for name, content in files)
    assert sorted(path.name for path in folder.iterdir()) == ["first", "last", "refused"]
    assert (folder / "last").read_bytes() == orders


def test_files_of_many_folders_go_together_also_through_a_folder_that_is_a_symlink(ends: Ends, tmp_path: Path) -> None:
    paths = [f"{tmp_path}/to/{number % 7}/-{number} 'x'" for number in range(300)]
    for number in range(7):
        (tmp_path / "real" / str(number)).mkdir(parents=True)
    (tmp_path / "to").symlink_to("real")
    with ends.place("scp").lease() as transport:
        assert isinstance(transport, Bulk)
        transport.write_many((path, path.encode(), info_of(path.encode(), 0o640)) for path in paths)
    assert all(Path(path).read_bytes() == path.encode() for path in paths)
    assert {Path(path).stat().st_mode & 0o777 for path in paths} == {0o640}
    assert len(list((tmp_path / "real").rglob("-*"))) == 300


def test_a_file_that_says_it_is_empty_and_is_not_is_denied_and_empty_ones_are_read(ends: Ends, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    paths = [f"{tmp_path}/empty"] * 3
    with ends.place("scp").lease() as transport:
        assert isinstance(transport, Bulk)
        assert list(transport.read_many(paths)) == [(path, b"") for path in paths]
        assert list(transport.read(paths[0])) == []
        for read in (transport.read("/proc/version"), transport.read_many([*paths, "/proc/version"])):
            with pytest.raises(Denied, match=r"/proc/version: says that it is empty and is not"):
                list(read)
