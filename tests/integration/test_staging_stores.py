"""Staging from and to an S3 bucket, and from a web server, with every other kind of machine at the other end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.services.sshd import Farm, open_farm, require_sshd
from tests.services.stores import S3_ENV, Bucket, Web, s3_server, web_server
from tests.transfers import leftovers, spot, tree
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.errors import Broken, Denied, NotFound, TaskFailed
from wlmctl.machine import Machine
from wlmctl.transfer import Place, Source, Summary, Verify, copy, plan

OTHERS = ["local", "sftp", "scp"]


class Ends:
    """Places by name over one pool, so that the S3 session is made once."""

    def __init__(self, farm: Farm, bucket: Bucket, web: Web) -> None:
        self.bucket, self.web = bucket, web
        self.pool = ConnectionPool(open_transport)
        self.machines = {name: Machine(name, host=name, transport=name) for name in farm.machines}
        self.machines["local"] = Machine("local", transport="local")
        for name, options in (("bucket", bucket.options()), ("web", web.options())):
            self.machines[name] = Machine(name, transport="fsspec", transport_options=options)

    def place(self, name: str) -> Place:
        machine = self.machines[name]
        return Place(name, name, partial(self.pool.lease, machine), machine.is_local)

    def copied(self, source: str, what: object, to: str, where: object, verify: Verify = Verify.SHA256) -> Summary:
        made = plan([Source(self.place(source), spot(str(what)))], self.place(to), spot(str(where)))
        return copy(made, verify=verify, execution="e1")


@pytest.fixture
def ends(shared: tuple[Ends, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Ends:
    for name, value in shared[1].items():
        monkeypatch.setenv(name, value)
    return shared[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ends, dict[str, str]]]:
    """The servers, the pool, and the environment that leads to them."""
    require_sshd()
    folder = tmp_path_factory.mktemp("stores")
    (folder / "served").mkdir()
    with (
        open_farm(folder / "farm", ("sftp", "scp")) as farm,
        s3_server() as server,
        web_server(folder / "served", ranges=True) as web,
    ):
        ends = Ends(farm, server("lab"), web)
        yield ends, {**S3_ENV, **farm.write_inventory(folder / "inventory").env}
        ends.pool.close_all()


def make_tree(folder: Path) -> Path:
    (folder / "sub" / "deep").mkdir(parents=True)
    for number in range(12):
        (folder / "sub" / f"{number} *.txt").write_text(str(number))
    (folder / "sub" / "deep" / "nothing").touch()
    (folder / "big").write_bytes(os.urandom(9_000_000))
    return folder


@pytest.mark.parametrize("other", OTHERS)
def test_a_tree_goes_into_a_bucket_and_back(ends: Ends, tmp_path: Path, other: str) -> None:
    data = make_tree(tmp_path / "data")
    files = {name: content for name, content in tree(data).items() if content is not None}
    assert ends.copied(other, data, "bucket", f"/{other}/").sent_bytes == 9_000_014
    held = {key: content for key, content in ends.bucket.content().items() if key.startswith(f"{other}/")}
    assert held == {f"{other}/data/{name}": content for name, content in files.items()}
    assert ends.bucket.uploads == []
    again = ends.copied(other, data, "bucket", f"/{other}/")
    assert (again.files, again.skipped) == (14, 14)
    ends.copied("bucket", f"/{other}/data/", other, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(data)
    ends.copied("bucket", f"/{other}/data/sub/1*", other, f"{tmp_path}/some/")
    assert len(list((tmp_path / "some").iterdir())) == 3
    assert leftovers(tmp_path) == []


def test_within_a_bucket_and_over_what_is_there(ends: Ends) -> None:
    ends.bucket.put("within/a", b"new")
    ends.bucket.put("within/b", b"old and longer")
    for verify in Verify:
        ends.copied("bucket", "/within/a", "bucket", "/within/b", verify)
        ends.copied("bucket", "/within/a", "bucket", f"/within/{verify}/")
        content = ends.bucket.content()
        assert (content["within/b"], content[f"within/{verify}/a"]) == (b"new", b"new")
    with pytest.raises(NotFound, match="bucket:/within/absent: does not exist"):
        ends.copied("bucket", "/within/absent", "local", "/nowhere")


@pytest.mark.parametrize("other", [*OTHERS, "bucket"])
def test_a_tree_is_fetched_from_a_web_server(ends: Ends, tmp_path: Path, other: str) -> None:
    data = make_tree(ends.web.folder / f"for {other}")
    target = f"/from-web/{tmp_path.name}" if other == "bucket" else str(tmp_path / "got")
    ends.copied("web", f"/for {other}/", other, target)
    if other == "bucket":
        target = str(tmp_path / "got")
        ends.copied("bucket", f"/from-web/{tmp_path.name}", "local", target)
    assert tree(Path(target)) == tree(data)
    with pytest.raises(Denied, match="web:/new: HTTP is for reading only"):
        ends.copied(other, target if other != "bucket" else f"/from-web/{tmp_path.name}/big", "web", "/new")


def test_a_file_that_breaks_off_leaves_nothing_and_is_fetched_again(ends: Ends, tmp_path: Path) -> None:
    (ends.web.folder / "cut").write_bytes(os.urandom(3_000_000))
    ends.web.cut_after_bytes = 2_000_000
    for other in ("local", "bucket"):
        with pytest.raises(Broken, match="web:/cut"):
            ends.copied("web", "/cut", other, f"{tmp_path}/cut")
    assert list(tmp_path.iterdir()) == []
    assert not any("cut" in key for key in ends.bucket.content())
    assert ends.bucket.uploads == []
    ends.web.cut_after_bytes = None
    ends.copied("web", "/cut", "local", tmp_path / "cut")
    assert (tmp_path / "cut").read_bytes() == (ends.web.folder / "cut").read_bytes()


def test_an_object_that_is_replaced_while_it_is_read_is_named(ends: Ends, tmp_path: Path) -> None:
    ends.bucket.put("changing", os.urandom(20_000_000))
    seen: list[Any] = []

    def replace_it(tally: Any) -> None:
        if not seen and tally.bytes_done > 0:
            seen.append(tally)
            ends.bucket.put("changing", os.urandom(20_000_000))

    made = plan([Source(ends.place("bucket"), spot("/changing"))], ends.place("local"), spot(tmp_path / "f"))
    with pytest.raises(TaskFailed, match=r"bucket:/changing: was .* while it was copied"):
        copy(made, execution="e1", progress=replace_it)
    assert list(tmp_path.iterdir()) == []
