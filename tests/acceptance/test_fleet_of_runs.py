"""Many experiments beside one another, with limits, values handed on, logs followed and folders removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.sshd import Farm
from tests.waiting import wait_until


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    line.write("wlmctl.toml", f'[machines.local]\nscratch = "{tmp_path}/scratch"\ncpus = 4\ngpus = 3\nshell = "sh"\n')
    yield line
    line.close()


@pytest.fixture
def far(farm: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    extra = {name: f'scratch = "{farm[name].home}/scratch-{tmp_path.name}"\ncpus = 4' for name in farm.machines}
    inventory = farm.write_inventory(tmp_path / "work", extra=extra)
    with inventory.config.open("a") as config:
        config.write(f'[machines.local]\nscratch = "{tmp_path}/scratch"\ncpus = 4\nshell = "sh"\n')
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def witness(cli: CommandLine, name: str = "witness") -> list[str]:
    path = cli.folder / name
    return path.read_text().split() if path.exists() else []


BUSY = "mkdir -p busy; m=$(mktemp busy/XXXXXX); ls busy | wc -l >> loads; %s sleep 0.2; rm $m"

#: Waits, on a busy host too, until what is named has been seen.
UNTIL = "i=0; until %s || [ $i = 200 ]; do i=$((i+1)); sleep 0.1; done;"


def test_jobs_of_two_cpus_and_limits_are_kept_on_the_machine_itself(cli: CommandLine) -> None:
    alone, both = BUSY % "", BUSY % (UNTIL % "grep -q 2 loads")
    cli.write(
        "two.yaml",
        f"name: two\ntasks: {{j: {{type: job, resources: {{cpus: 2}}, foreach: {{n: 1..6}}, command: '{both}'}}}}\n",
    )
    cli.run("run", "two.yaml")
    assert max(map(int, witness(cli, "loads"))) == 2
    (cli.folder / "loads").unlink()
    cli.write(
        "few.yaml",
        f"name: few\nmax_running: 1\ntasks: {{j: {{type: job, foreach: {{n: 1..4}}, command: '{alone}'}}}}\n",
    )
    cli.run("run", "few.yaml")
    assert witness(cli, "loads") == ["1"] * 4


def test_jobs_that_overlap_see_devices_of_their_own(cli: CommandLine) -> None:
    cli.write(
        "g.yaml",
        "name: g\ntasks:\n  j:\n    type: job\n    resources: {gpus: 1}\n    foreach: {n: 1..6}\n    command: |\n"
        "      mkdir -p held; mkdir held/$CUDA_VISIBLE_DEVICES || echo twice >> twice\n"
        "      echo $CUDA_VISIBLE_DEVICES >> witness; ls held | grep -c . | grep -q 3 && touch all\n"
        f"      {UNTIL % '[ -e all ]'} sleep 0.3; rmdir held/$CUDA_VISIBLE_DEVICES\n",
    )
    cli.run("run", "g.yaml")
    assert witness(cli, "twice") == []
    assert set(witness(cli)) == {"0", "1", "2"}
    assert len(witness(cli)) == 6


def test_a_job_that_asks_for_too_much_fails_by_name(cli: CommandLine) -> None:
    cli.write("big.yaml", "name: big\ntasks: {j: {type: job, resources: {cpus: 64}, command: 'true'}}\n")
    done = cli.run("run", "big.yaml", code=1)
    assert "asks for 64 cpus, machine local has 4" in done.stderr


def test_a_requirement_that_nothing_fits_is_told_while_it_waits(cli: CommandLine) -> None:
    cli.write(
        "r.yaml",
        "name: r\nmachines: {c: {requires: {labels: [gpu]}}}\ntasks: {j: {type: job, machine: c, command: 'true'}}\n",
    )
    process = cli.start("run", "r.yaml")
    why = "no machine fits the role c: local has no label gpu"
    wait_until(lambda: f"j: waits: {why}" in cli.said(process), "the reason is told")
    [identifier] = cli.ids()
    assert why in cli.run("status", identifier).stdout
    assert "waiting" in cli.run("events", identifier).stdout
    cli.run("cancel", "--wait", identifier)
    assert process.wait(60) == 5
    assert cli.said(process).count(why) == 1


def test_an_experiment_starts_after_the_delay_it_asks_for(cli: CommandLine) -> None:
    cli.write("s.yaml", "name: s\nstart: +2s\ntasks: {j: {type: job, command: 'date +%s.%N >> witness'}}\n")
    before = time.time()
    cli.run("run", "s.yaml")
    assert float(witness(cli)[0]) >= before + 2
    assert float(witness(cli)[0]) < before + 62


def bad_is_known(cli: CommandLine, name: str) -> bool:
    return any(each.startswith(f"{name}-") and cli.tasks(each)["bad"]["state"] == "failed" for each in cli.ids())


def test_a_failure_stops_only_what_the_file_says(cli: CommandLine) -> None:
    tasks = (
        "tasks:\n"
        "  bad: {type: job, command: 'exit 3', may_fail: %s}\n"
        "  after: {type: job, needs: [bad], command: 'echo after >> witness'}\n"
        "  ended: {type: job, needs: [{bad: ended}], command: 'echo ended >> witness'}\n"
        "  slow: {type: job, command: '%s echo slow >> witness'}\n"
        "  last: {type: job, needs: [slow], command: 'echo last >> witness'}\n"
    )
    cli.write("go.yaml", "name: go\n" + tasks % ("false", ""))
    cli.run("run", "go.yaml", code=1)
    assert sorted(witness(cli)) == ["ended", "last", "slow"]
    (cli.folder / "witness").unlink()
    cli.write("stop.yaml", "name: stop\non_failure: stop\n" + tasks % ("false", UNTIL % "[ -e go ]"))
    process = cli.start("run", "stop.yaml")
    wait_until(lambda: bad_is_known(cli, "stop"), "the failure is known", 60)
    cli.write("go", "")
    assert process.wait(60) == 1
    assert "slow" in witness(cli)
    assert "last" not in witness(cli)
    assert "ended" not in witness(cli)
    (cli.folder / "witness").unlink()
    cli.write("may.yaml", "name: may\non_failure: stop\n" + tasks % ("true", ""))
    cli.run("run", "may.yaml")
    assert sorted(witness(cli)) == ["ended", "last", "slow"]


def test_outputs_and_folders_are_handed_from_task_to_task(far: CommandLine, farm: Farm) -> None:
    far.write(
        "v.yaml",
        "name: v\ntasks:\n"
        "  setup: {type: environment, machine: alpha, files: {tool: {content: 'echo tool'}}, commands: [pwd > where]}\n"
        "  sim:\n    type: job\n    machine: alpha\n    foreach: {n: 1..2}\n    needs: [setup]\n"
        '    command: \'echo "{\\"e\\": $(( ${n} * 10 ))}" > out-${n}.json; sh ${tasks.setup.folder}/tool\'\n'
        "    outputs: {energy: {file: 'out-${n}.json', json: $.e}}\n"
        "  use:\n    type: job\n    machine: beta\n    foreach: {n: 1..2}\n    needs: ['sim[${n}]']\n"
        "    command: [echo, 'got ${tasks.sim[${n}].outputs.energy}']\n",
    )
    far.run("run", "v.yaml")
    [identifier] = far.ids()
    assert far.run("logs", "--stdout", identifier, "use:1").stdout == "got 10\n"
    assert far.run("logs", "--stdout", identifier, "use:2").stdout == "got 20\n"
    assert far.run("logs", "--stdout", identifier, "sim:2").stdout == "tool\n"


@pytest.mark.parametrize(("clean", "command", "is_left"), [
    ("always", "exit 1", False), ("succeeded", "true", False), ("succeeded", "exit 1", True), ("never", "true", True),
])  # fmt: skip
def test_folders_are_removed_at_the_end_and_nothing_of_the_users(
    far: CommandLine, farm: Farm, tmp_path: Path, clean: str, command: str, is_left: bool
) -> None:
    far.write("mine", "keep me")
    far.write(
        "c.yaml",
        f"name: c\nclean: {clean}\ntasks:\n"
        "  here: {type: job, command: 'echo x > made-here'}\n"
        "  there: {type: job, machine: alpha, command: 'echo x > made-there'}\n"
        "  back: {type: stage, needs: [there], from: 'alpha:made-there', to: 'local:results/'}\n"
        f"  last: {{type: job, machine: alpha, needs: [back, here], command: '{command}'}}\n",
    )
    far.run("run", "c.yaml", code=0 if command == "true" else 1)
    [identifier] = far.ids()
    assert (far.folder / "mine").read_text() == "keep me"
    assert (far.folder / "made-here").exists()
    assert (far.folder / "results" / "made-there").exists()
    scratch = farm["alpha"].home / f"scratch-{tmp_path.name}"
    assert (scratch / identifier).exists() == is_left
    assert (tmp_path / "scratch" / identifier).exists() == is_left
    assert far.run("logs", "--stdout", identifier, "there").stdout == "", "logs stay in the store"


def test_the_output_of_a_running_job_can_be_followed(far: CommandLine, farm: Farm) -> None:
    far.write(
        "f.yaml",
        "name: f\ntasks: {j: {type: job, machine: alpha,"
        " command: 'echo line 1; until [ -e ~/heard ]; do sleep 0.1; done; echo line 2; sleep 0.7; echo line 3'}}\n",
    )
    process = far.start("run", "f.yaml")
    wait_until(lambda: far.ids() and far.tasks(far.ids()[0])["j"]["state"] == "deferred", "the job runs")
    far.start("logs", "-f", "--stdout", far.ids()[0], "j")
    followed = far.folder / "started-1.out"
    wait_until(lambda: "line 1" in followed.read_text(), "the first line, while the job runs")
    assert process.poll() is None
    (farm["alpha"].home / "heard").touch()
    assert process.wait(60) == 0
    wait_until(lambda: followed.read_text() == "line 1\nline 2\nline 3\n", "all of it, once")


def test_an_experiment_for_each_row_of_a_table_of_parameters(cli: CommandLine) -> None:
    cli.write("rows.csv", "t,p\n300,1\n310,2\n320,3\n")
    cli.write(
        "p.yaml", "name: p\nparams: {t: null, p: null}\ntasks: {j: {type: job, command: 'echo ${t}-${p} >> witness'}}\n"
    )
    identifiers = cli.run("submit", "--params-file", "rows.csv", "p.yaml").stdout.split()
    assert len(set(identifiers)) == 3
    daemon = cli.start("orchestrator", "--slots", "2")
    cli.run("wait", *identifiers)
    assert sorted(witness(cli)) == ["300-1", "310-2", "320-3"]
    daemon.terminate()
    assert daemon.wait(60) == 0
