"""What the scp transport makes of the words of a ``tar`` that could not unpack all of an archive."""

from __future__ import annotations

import pytest
from wlmctl_transport_scp.archive import _fault

from wlmctl.errors import Denied, NoSpace, NotFound
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
