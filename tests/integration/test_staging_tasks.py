"""The task types ``stage`` and ``environment`` on machines behind real sshd processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services.sshd import Farm, Sshd, open_farm, require_sshd
from tests.transfers import leftovers, tree
from tests.waiting import wait_until
from wlmctl.connections import open_transport
from wlmctl.errors import Cancelled, TaskFailed
from wlmctl.machine import Machine
from wlmctl.plugins import task_type
from wlmctl.task import Done
from wlmctl.testing.task import FakeContext
from wlmctl.transfer import Endpoint

MakeContext = Callable[..., FakeContext]


@pytest.fixture(scope="module")
def own_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), ("sftp", "scp")) as farm:
        farm.add("files", sftp_only=True)
        yield farm


@pytest.fixture
def make_context(own_farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeContext:
    """Contexts with a role for each machine, whose folders lie in a new folder of its login."""
    for name, value in own_farm.write_inventory(tmp_path / "inventory").env.items():
        monkeypatch.setenv(name, value)
    machines = {
        name: Machine(name, host=name, transport="scp" if name == "scp" else "sftp", kill_grace_s=2)
        for name in own_farm.machines
    }
    machines["local"] = Machine("local", transport="local", shell="sh")
    folders = {name: str(own_farm[name].home / tmp_path.name) for name in own_farm.machines}
    folders["local"] = str(tmp_path / "local")

    def make(**options: Any) -> FakeContext:
        return FakeContext(tmp_path, machines=machines, folders=folders, open_transport=open_transport, **options)

    return make


def execute(name: str, mapping: dict[str, Any], context: FakeContext) -> Done:
    kind = task_type(name)
    done = kind.execute(kind.parse(mapping, Path("/")), context)
    assert isinstance(done, Done)
    return done


@pytest.mark.parametrize("to", ["sftp", "scp", "files"])
def test_a_stage_gathers_from_several_machines_into_the_experiments_private_folder(
    make_context: MakeContext, to: str
) -> None:
    context = make_context()
    for role in ("local", "sftp", "scp", "files"):
        folder = Path(context.folder(role), "data")
        folder.mkdir(parents=True)
        (folder / f"{role}.csv").write_text(role)
    sources = [f"{role}:data/*.csv" for role in ("local", "sftp", "scp", "files")]
    for execution in ("e1", "e2"):
        execute("stage", {"from": sources, "to": f"{to}:gathered/"}, context.again(execution))
    gathered = Path(context.folder(to), "gathered")
    assert tree(gathered) == {f"{role}.csv": role.encode() for role in ("local", "sftp", "scp", "files")}
    assert leftovers(Path(context.folder(to))) == []


@pytest.mark.parametrize("to", ["sftp", "files"])
def test_the_experiments_folder_on_a_far_machine_is_private(make_context: MakeContext, to: str) -> None:
    context = make_context()
    Path(context.folder("local")).mkdir(parents=True)
    Path(context.folder("local"), "a").touch()
    execute("stage", {"from": "local:a", "to": f"{to}:in/"}, context)
    assert Path(context.folder(to)).stat().st_mode & 0o777 == 0o700


def test_a_stage_may_not_leave_the_experiments_folder_but_on_this_host(make_context: MakeContext) -> None:
    context = make_context()
    Path(context.folder("local")).mkdir(parents=True)
    Path(context.folder("local")).parent.joinpath("beside").write_text("x")
    execute("stage", {"from": "local:../beside", "to": "sftp:in/"}, context)
    assert Path(context.folder("sftp"), "in", "beside").read_text() == "x"
    stage = task_type("stage")
    spec = stage.parse({"from": "sftp:in/", "to": "local:out/"}, Path("/"))
    with pytest.raises(TaskFailed, match="leaves the experiment's folder"):
        stage.execute(replace(spec, sources=(Endpoint("sftp", "../x"),)), context)


@pytest.mark.parametrize("machine", ["sftp", "scp"])
def test_an_environment_is_built_once_on_a_far_machine(make_context: MakeContext, machine: str) -> None:
    context = make_context(files={"run.sh": b"#!/bin/sh\necho made by $0\n"})
    mapping = {
        "machine": machine,
        "directories": ["work"],
        "files": {"work/run.sh": {"from": "run.sh", "mode": "0755"}},
        "commands": ['echo once >>"$HOME/count"', "./work/run.sh >out; cat out; pwd"],
    }
    done = execute("environment", mapping, context)
    assert done.folder is not None
    assert done.stdout == f"made by ./work/run.sh\n{done.folder}\n".encode()
    execute("environment", mapping, context.again("e2"))
    home = Path(context.folder(machine)).parent.parent
    assert (home / "count").read_text() == "once\n"
    (home / "count").unlink()
    assert Path(context.folder(machine), "work", "run.sh").stat().st_mode & 0o777 == 0o755
    with pytest.raises(TaskFailed, match=f"{machine}: command 1 of 1 .* exit code 3: no luck"):
        execute("environment", {"machine": machine, "commands": ["echo no luck; exit 3"]}, context.again("e3"))


def test_an_environment_of_files_needs_no_shell(make_context: MakeContext) -> None:
    context = make_context()
    files = {"sub/a b": {"content": "text"}}
    done = execute("environment", {"machine": "files", "directories": ["d"], "files": files}, context)
    assert done.folder == context.folder("files")
    assert tree(Path(context.folder("files"))) == {"d": None, "sub": None, "sub/a b": b"text"}
    with pytest.raises(TaskFailed, match="the machine files has none"):
        execute("environment", {"machine": "files", "commands": ["true"]}, context)


@pytest.mark.parametrize("machine", ["sftp", "scp"])
def test_a_cancelled_build_leaves_no_process_on_the_far_machine(
    own_farm: Farm, make_context: MakeContext, machine: str
) -> None:
    context = make_context()
    begun = Path(context.folder(machine)).parent / "begun"

    def cancel() -> None:
        wait_until(begun.exists, "the command")
        context.cancel()

    threading.Thread(target=cancel).start()
    command = f"trap '' TERM; touch '{begun}'; setsid sleep 600 & sleep 600; sleep 600"
    with pytest.raises(Cancelled):
        execute("environment", {"machine": machine, "commands": [command]}, context)
    wait_until(lambda: not sleeping(own_farm[machine]), "nothing of it is left")


def sleeping(machine: Sshd) -> list[int]:
    """The processes that the build has begun there."""
    found = []
    for pid in machine.jobs():
        with suppress(OSError):
            if b"600" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_a_build_goes_on_when_its_connection_is_cut(own_farm: Farm, make_context: MakeContext) -> None:
    context = make_context()
    folder = Path(context.folder("sftp")).parent
    gate, begun = folder / "gate", folder / "begun"
    mapping = {
        "machine": "sftp",
        "commands": [f"echo run >>'{begun}'; while [ ! -e '{gate}' ]; do sleep 0.1; done; echo whole >built"],
    }
    folders: list[Done] = []
    failures: list[BaseException] = []

    def build() -> None:
        try:
            execute("environment", mapping, context)
        except Exception as error:
            failures.append(error)

    first = threading.Thread(target=build)
    first.start()
    wait_until(begun.exists, "the command")
    machine = own_farm["sftp"]
    wait_until(lambda: set(machine.jobs()) - set(machine.sessions()), "the runner is no part of the connection")
    wait_until(machine.sessions, "a connection")
    while first.is_alive():
        machine.kill_sessions()
        first.join(0.05)
    assert len(failures) == 1
    second = threading.Thread(target=lambda: folders.append(execute("environment", mapping, context.again("e2"))))
    second.start()
    gate.touch()
    second.join(120)
    assert folders[0].folder is not None
    assert Path(folders[0].folder, "built").read_text() == "whole\n"
    assert begun.read_text() == "run\n"


def test_a_stage_asks_for_leave_to_move_what_it_has_planned_and_says_how_far_it_is(tmp_path: Path) -> None:
    context = FakeContext(tmp_path)
    (Path(context.folder("a")) / "x").write_text("12345")
    execute("stage", {"from": ["a:x"], "to": "b:y/"}, context)
    assert context.transfers == [(("b", "a"), 5, 1)]
    assert (Path(context.folder("b")) / "y" / "x").read_text() == "12345"
    assert context.figures[-1] == {
        "bytes_done": 5, "bytes_total": 5, "files_done": 1, "files_total": 1, "sent_bytes": 5, "resumed_bytes": 0,
        "skipped": 0, "what": "copying",
    }  # fmt: skip
