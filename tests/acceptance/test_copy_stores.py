"""``wlmctl copy`` and stage tasks from and to an S3 bucket and web servers, with every other kind at the other end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.sshd import Farm
from tests.services.stores import S3_ENV, SECRET, Bucket, Web, s3_server, web_server
from tests.transfers import tree

MakeBucket = Callable[[str], Bucket]


@pytest.fixture(scope="module")
def make_bucket() -> Iterator[MakeBucket]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(make_bucket: MakeBucket, request: pytest.FixtureRequest) -> Bucket:
    return make_bucket(request.node.name.replace("_", "-")[:60].strip("-"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "served").mkdir()
    with web_server(tmp_path / "served", ranges=False) as web:
        yield web


@pytest.fixture
def wlmctl(farm: Farm, bucket: Bucket, web: Web, tmp_path: Path) -> CommandLine:
    """With the machines ``alpha`` (sftp), ``beta`` (scp), ``bucket`` and ``web``."""
    inventory = farm.write_inventory(tmp_path / "here", transports={"beta": "scp"})
    with inventory.config.open("a") as config:
        config.write(bucket.toml("bucket"))
        config.write(f'[machines.web]\ntransport = "fsspec"\ntransport_options = {{url = "{web.url}"}}\n')
    return CommandLine(inventory.folder, {**inventory.env, **S3_ENV})


def test_a_folder_goes_into_a_bucket_and_a_file_comes_from_the_web(
    wlmctl: CommandLine, bucket: Bucket, web: Web
) -> None:
    (wlmctl.folder / "data" / "sub").mkdir(parents=True)
    (wlmctl.folder / "data" / "sub" / "a b").write_text("A")
    (wlmctl.folder / "data" / "c").write_text("C")
    assert wlmctl.run("copy", "local:data", "bucket:in/").stdout.startswith("2 files, 2 bytes in ")
    assert bucket.content() == {"in/data/sub/a b": b"A", "in/data/c": b"C"}
    assert "2 there already" in wlmctl.run("copy", "local:data", "bucket:in/").stdout
    (web.folder / "set.csv").write_text("1,2\n")
    wlmctl.run("copy", "web:set.csv", "bucket:in/data/c", "local:got/")
    assert tree(wlmctl.folder / "got") == {"set.csv": b"1,2\n", "c": b"C"}
    refused = wlmctl.run("copy", "local:got/c", "web:new", code=1)
    assert refused.stderr == "wlmctl: web:/new: HTTP is for reading only: nothing can be written to web\n"


def test_an_experiment_stages_from_a_bucket_and_back(wlmctl: CommandLine, bucket: Bucket) -> None:
    bucket.put("raw/a.csv", b"1\n2\n")
    bucket.put("raw/b.csv", b"3\n")
    wlmctl.write(
        "e.yaml",
        "name: stores\ntasks:\n"
        "  fetch: {type: stage, from: 'bucket:/raw/*.csv', to: 'alpha:in/'}\n"
        "  count: {type: job, needs: [fetch], machine: alpha, directory: in, command: 'cat *.csv | wc -l > lines'}\n"
        "  keep: {type: stage, needs: [count], from: 'alpha:in/lines', to: 'bucket:/results/'}\n"
        "  mine: {type: stage, needs: [count], from: 'alpha:in/', to: 'bucket:own/'}\n",
    )
    assert "nothing is in the way" in wlmctl.run("plan", "e.yaml").stdout
    wlmctl.run("run", "e.yaml")
    content = bucket.content()
    assert content["results/lines"].strip() == b"3"
    (own,) = [key for key in content if key.endswith("/own/a.csv")]
    assert own.startswith(".wlmctl/stores-")
    (row,) = wlmctl.json("status")["experiments"]
    wlmctl.run("clean", row["id"])
    assert [key for key in bucket.content() if key.startswith(".wlmctl/")] == []
    for file in (wlmctl.folder / "store").iterdir():
        assert SECRET.encode() not in file.read_bytes()


def test_what_is_told_of_a_store_holds_no_secret(wlmctl: CommandLine) -> None:
    told = wlmctl.run("machine", "test", "bucket", "web")
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "bucket scratch ok /.wlmctl can be written" in lines
    assert any(line.startswith("web scratch skipped /.wlmctl: HTTP is for reading only") for line in lines)
    fast = " ".join(wlmctl.run("machine", "test", "web", "--speed").stdout.split())
    assert "web speed skipped nothing can be written there" in fast
    shown = wlmctl.run("machine", "show", "bucket").stdout + wlmctl.run("doctor", "--config").stdout
    assert "TEST_S3_SECRET" in shown
    assert SECRET not in told.stdout + told.stderr + shown


def test_a_store_without_its_login_is_one_line(wlmctl: CommandLine) -> None:
    del wlmctl.environ["TEST_S3_SECRET"]
    refused = wlmctl.run("copy", "bucket:f", "local:f", code=2)
    assert "the environment variable TEST_S3_SECRET is not set" in refused.stderr
    assert refused.stderr.count("\n") == 1
