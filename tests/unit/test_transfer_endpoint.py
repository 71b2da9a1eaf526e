"""Endpoints and patterns as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transfers import Narrow, this_host
from wlmctl.text import shown
from wlmctl.transfer.endpoint import located, split_endpoint
from wlmctl.transfer.pattern import Exclusion, expand
from wlmctl.transfer.temporary import temporary_path


@pytest.mark.parametrize(
    ("text", "role", "path"),
    [
        ("nas:/data/x", "nas", "/data/x"),
        ("compute:work/", "compute", "work/"),
        ("local:", "local", ""),
        ("a:b:c", "a", "b:c"),
        ("pi-abc234/compute:out", "pi-abc234/compute", "out"),
        ("local:new\nline", "local", "new\nline"),
    ],
)
def test_an_endpoint_is_a_role_and_a_path(text: str, role: str, path: str) -> None:
    endpoint = split_endpoint(text)
    assert (endpoint.role, endpoint.path) == (role, path)


@pytest.mark.parametrize("text", ["data.csv", "/data/a:b", ":x", "", "./a:b", "a b:c"])
def test_a_path_without_a_role_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="role:path"):
        split_endpoint(text)


@pytest.mark.parametrize(
    ("text", "path", "is_folder"),
    [
        ("a/b", "/e/a/b", False),
        ("a/b/", "/e/a/b", True),
        ("", "/e", True),
        (".", "/e", True),
        ("a/.", "/e/a", True),
        ("a/..", "/e", True),
        ("~/x", "/home/me/x", False),
        ("~", "/home/me", True),
        ("~x", "/e/~x", False),
        ("/abs/../y", "/y", False),
        ("/", "/", True),
        ("//a", "/a", False),
        ("$HOME/x", "/e/$HOME/x", False),
    ],
)
def test_the_text_alone_says_where_and_whether_a_folder_is_meant(text: str, path: str, is_folder: bool) -> None:
    spot = located(split_endpoint(f"nas:{text}"), "/e", "/home/me", may_leave=False)
    assert (spot.path, spot.is_folder) == (path, is_folder)


def test_two_dots_may_leave_only_where_that_is_allowed() -> None:
    endpoint = split_endpoint("local:../x")
    assert located(endpoint, "/e/f", "/", may_leave=True).path == "/e/x"
    with pytest.raises(ValueError, match=r"\.\./x: leaves the experiment's folder"):
        located(endpoint, "/e/f", "/", may_leave=False)
    with pytest.raises(ValueError, match="leaves"):
        located(split_endpoint("nas:../file"), "/e/f", "/", may_leave=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.csv", ".hidden.csv", "c.txt", "d/a.csv", "d/e/f/a.csv", ".g/a.csv", "[x].csv", "n\nl.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / ".a.csv.wlm-e9").touch()
    return tmp_path


@pytest.mark.parametrize("only_required", [False, True])
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["[x].csv", "a.csv", "b.csv", "n\nl.csv"]),
        (".*.csv", [".hidden.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("[[]x].csv", ["[x].csv"]),
        ("*/a.csv", ["d/a.csv"]),
        ("**/a.csv", ["a.csv", "d/a.csv", "d/e/f/a.csv"]),
        ("d/**/a.csv", ["d/a.csv", "d/e/f/a.csv"]),
        ("d/**", ["d/a.csv", "d/e", "d/e/f", "d/e/f/a.csv"]),
        ("d/*/*/*.csv", ["d/e/f/a.csv"]),
        ("*", ["[x].csv", "a.csv", "b.csv", "c.txt", "d", "n\nl.csv"]),
        ("nothing*/x", []),
        ("nothing/*", []),
    ],
)
def test_a_pattern_matches_as_in_a_shell(folder: Path, pattern: str, expected: list[str], only_required: bool) -> None:
    transport = Narrow(this_host()) if only_required else this_host()
    assert expand(transport, f"{folder}/{pattern}") == [f"{folder}/{name}" for name in expected]


@pytest.mark.parametrize(
    ("glob", "excluded", "kept"),
    [
        ("*.tmp", ["a.tmp", "d/a.tmp", ".x.tmp", "a.tmp/inside"], ["a.tmpx"]),
        ("d/*.o", ["d/a.o"], ["a.o", "x/d/a.o", "d/e/a.o"]),
        ("/a", ["a", "a/b"], ["b/a"]),
        ("**/cache/*", ["cache/x", "a/b/cache/x"], ["cache", "a/cache"]),
        (".git", [".git", ".git/config", "sub/.git/x"], ["git", ".gitignore"]),
    ],
)
def test_an_exclusion_is_for_any_name_or_for_a_path_from_the_root(
    glob: str, excluded: list[str], kept: list[str]
) -> None:
    exclusion = Exclusion([glob])
    assert [path for path in excluded if not exclusion(path, is_folder=False)] == []
    assert [path for path in kept if exclusion(path, is_folder=False)] == []


def test_an_exclusion_with_a_final_slash_is_for_folders() -> None:
    exclusion = Exclusion(["build/"])
    assert exclusion("build", is_folder=True)
    assert exclusion("build/x", is_folder=False)
    assert not exclusion("build", is_folder=False)


def test_a_temporary_name_lies_beside_the_target_and_is_never_too_long() -> None:
    assert temporary_path("/a/b", "e1") == "/a/.b.wlm-e1"
    long = temporary_path("/a/" + "x" * 255, "e1")
    assert long.startswith("/a/.")
    assert long.endswith(".wlm-e1")
    assert len(long) < 260
    assert temporary_path("/a/b", "x/../y") != temporary_path("/a/b", "z/../y")
    assert temporary_path("/a/b", "x/../y").count("/") == 2


def test_what_is_no_utf8_or_no_text_is_shown_by_its_numbers() -> None:
    assert shown(b"a\xff\nb\xc3\xa9".decode("utf-8", "surrogateescape")) == "a\\xff\\x0ab\u00e9"
