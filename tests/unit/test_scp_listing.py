"""The listing scripts of the scp transport under other tools than GNU's: busybox, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from wlmctl_transport_scp import listing

from wlmctl.errors import Broken
from wlmctl.testing.transport import ODD_NAMES

APPLETS = ["sh", "find", "ls", "stat", "readlink", "sed", "printf", "head"]


@pytest.fixture
def busybox_path(tmp_path: Path) -> str:
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for applet in APPLETS:
        (tools / applet).symlink_to(program)
    scp = shutil.which("scp")
    if scp:
        (tools / "scp").symlink_to(scp)
    return str(tools)


def listed(script: str, path: str) -> bytes:
    done = subprocess.run([f"{path}/sh", "-c", script], capture_output=True, env={"PATH": path}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("dialect", ["gnu", ""])
def test_busybox_lists_any_name_with_kind_size_mode_and_mtime(busybox_path: str, tmp_path: Path, dialect: str) -> None:
    folder = tmp_path / "list me"
    (folder / "sub dir").mkdir(parents=True)
    for number, name in enumerate(ODD_NAMES):
        path = folder / "sub dir" / name
        path.write_bytes(b"x" * number)
        path.chmod(0o640)
        os.utime(path, (1_500_000_001, 1_500_000_001))
    (folder / "link").symlink_to("to\nnowhere\n")
    os.mkfifo(folder / "fifo")
    output = listed(listing.walk_script(str(folder), dialect), busybox_path)
    seen = {info.path: info for info in listing.parse([output])}
    assert set(seen) == {".", "sub dir", "link", "fifo", *(f"sub dir/{name}" for name in ODD_NAMES)}
    for number, name in enumerate(ODD_NAMES):
        info = seen[f"sub dir/{name}"]
        assert (info.kind, info.size_bytes, info.mode, info.mtime_s) == ("file", number, 0o640, 1_500_000_001)
    assert (seen["link"].kind, seen["link"].target) == ("symlink", "to\nnowhere\n")
    assert (seen["fifo"].kind, seen["sub dir"].kind) == ("other", "directory")
    output = listed(listing.stat_script(str(folder / "sub dir" / "plain"), dialect, True), busybox_path)
    (one,) = listing.parse([output])
    assert (one.kind, one.mode) == ("file", 0o640)


@pytest.mark.parametrize(
    ("letters", "mode"),
    [("rwxrwxrwx", 0o777), ("rwsr-Sr-t", 0o7745), ("rwSr-sr-T", 0o7654 | 0), ("---------", 0)],
)
def test_the_letters_of_ls_are_the_permission_bits(letters: str, mode: int) -> None:
    (info,) = listing.parse([f"batch 1\nls 7 -{letters}+ 1 0 0 5 Jan  1  2020 name\n".encode(), b"./name\0"])
    assert (info.mode, info.size_bytes, info.mtime_s) == (mode, 5, 7.0)


@pytest.mark.parametrize("output", [b"batch 2\n81a4 1 2 3:4\n./a\0./b\0", b"batch 1\n81a4 1 2 3:4\n", b"rubbish\n"])
def test_a_listing_with_a_hole_is_broken(output: bytes) -> None:
    with pytest.raises(Broken):
        list(listing.parse([output]))


def test_a_listing_is_read_however_it_is_cut() -> None:
    output = b"batch 2\n81a4 1 2 3:4\na1ff 1 2 3:4\n./a\0./b\0to\nb\nx\0batch 1\n81a4 7 2 3:4\n./c\0"
    whole = list(listing.parse([output]))
    assert [(info.path, info.size_bytes, info.target) for info in whole] == [
        ("a", 1, None),
        ("b", 0, "to\nb"),
        ("c", 7, None),
    ]
    assert list(listing.parse([output[at : at + 1] for at in range(len(output))])) == whole
