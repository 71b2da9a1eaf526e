"""Archives of the scp transport: what a ``tar`` says that could not unpack all, and one that is not GNU's."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from wlmctl_transport_scp.archive import _archive, _fault, _script
from wlmctl_transport_scp.batching import batches, share

from wlmctl.errors import Denied, NoSpace, NotFound
from wlmctl.ssh.quoting import for_login_shell, words
from wlmctl.testing.transport import MTIME_S, ODD_NAMES, info_of
from wlmctl.transport import Completed

GNU_END = "tar: Exiting with failure status due to previous errors\n"


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("tar: a b/c: Cannot open: Permission denied\n" + GNU_END, Denied, "/base/a b/c: permission denied"),
        ("tar: a b/c: Cannot open: Read-only file system\n" + GNU_END, Denied, "/base/a b/c: refused: Read-only file"),
        ("tar: a b/c: Cannot open: No such file or directory\n" + GNU_END, NotFound, "/base/a b/c: No such file"),
        (
            "tar: d: time stamp 2033-05-18 is 1 s in the future\ntar: d: Cannot write: No space left on device\n",
            NoSpace,
            "/base/d: No space left on device",
        ),
        ("tar: \\303\\244: Cannot open: Permission denied\n", Denied, "/base: permission denied"),
        ("a b/c: Can't create 'a b/c': Permission denied\n", Denied, "/base/a b/c: permission denied"),
        ("tar: can't open 'd': Read-only file system\n", Denied, "/base: refused: Read-only file system"),
        ("tar: short read\n", Denied, "/base: refused: tar: short read"),
        ("", Denied, "/base: refused: exit code 2"),
    ],
)
def test_the_file_and_the_reason_are_found(said: str, kind: type[Exception], told: str) -> None:
    error = _fault("/base/", ["/base/a b/c", "/base/d"], Completed(2, b"", said.encode()))
    assert type(error) is kind
    assert str(error).startswith(told)


def test_an_archive_has_every_name_mode_time_and_content() -> None:
    names = [*ODD_NAMES, "x" * 99, "y" * 100, "z" * 101, "d/" * 90 + "end", "\u00fc" * 50]
    files = [(f"/b/{name}", name.encode("utf-8", "surrogateescape"), 0o644) for name in names]
    infos = [replace(info_of(content, mode), mtime_s=7.5 + 2.0**33 * (path[3] == "z")) for path, content, mode in files]
    parts = _archive("/b/", [(path, content, info) for (path, content, _), info in zip(files, infos, strict=True)])
    packed = io.BytesIO(b"".join(part for some in parts for part in some))
    with tarfile.open(fileobj=packed, encoding="utf-8", errors="surrogateescape") as archive:
        for member, name, info in zip(archive.getmembers(), names, infos, strict=True):
            assert (member.name, member.mode, member.mtime) == (name, 0o644, int(info.mtime_s))
            content = archive.extractfile(member)
            assert content is not None
            assert content.read() == name.encode("utf-8", "surrogateescape")


def test_nothing_is_unpacked_elsewhere_when_the_folder_is_gone(tmp_path: Path) -> None:
    content = b"astray"
    parts = _archive("/gone/", [("/gone/file", content, info_of(content))])
    done = subprocess.run(
        ["sh", "-c", _script("other", f"{tmp_path}/gone/", [f"{tmp_path}/gone"])],
        input=b"".join(part for some in parts for part in some), cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode != 0, done.stdout) == (True, b" 0\n")
    assert list(tmp_path.iterdir()) == []


def test_busybox_unpacks_any_name_with_mode_and_mtime(tmp_path: Path) -> None:
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    (tmp_path / "tools").mkdir()
    for applet in ("sh", "tar"):
        (tmp_path / "tools" / applet).symlink_to(program)
    to = tmp_path / "to it"
    to.mkdir()
    files = [(f"{to}/{name}", name.encode("utf-8", "surrogateescape") * 999, name) for name in ODD_NAMES]
    parts = _archive(f"{to}/", [(path, content, info_of(content, 0o640)) for path, content, _ in files])
    done = subprocess.run(
        [f"{tmp_path}/tools/sh", "-c", _script("other", f"{to}/", [f"{to}", f"{to}/absent"])],
        input=b"".join(part for some in parts for part in some),
        capture_output=True, env={"PATH": f"{tmp_path}/tools"}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b" 1\n", b"")
    for path, content, _ in files:
        assert Path(path).read_bytes() == content
        assert (Path(path).stat().st_mode & 0o777, int(Path(path).stat().st_mtime)) == (0o640, int(MTIME_S))


def test_a_batch_of_names_fits_into_one_word_of_a_command() -> None:
    for name in ("'" * 200, "/plain/" + "x" * 200, "\u00fc" * 100, "a b" * 70, "$(x)\n" * 40):
        names = [name] * 2000
        lines = [for_login_shell(words(batch)) for batch in batches(names, share)]
        assert max(map(len, lines)) < 120_000
        assert sum(len(batch) for batch in batches(names, share)) == 2000
    plain = ["/some/where/or/other/.a-file.bin.wlm-copy-0123456789"] * 1000
    assert [len(batch) for batch in batches(plain, share)] == [1000]
