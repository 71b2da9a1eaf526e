"""Everything survives: whatever is killed, every job is accounted for, once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from functools import partial

import pytest

from tests.commandline import CommandLine
from tests.waiting import wait_until

SWEEP = """
name: sweep
tasks:
  prepare: {type: environment, directories: [work]}
  simulate:
    type: job
    needs: [prepare]
    directory: work
    foreach: {n: 1..%(count)d}
    command: "echo ${n} >> witness; %(then)s; echo done ${n}"
  collect:
    type: stage
    needs: [simulate]
    from: local:work/witness
    to: local:results/
"""


@pytest.fixture
def cli(tmp_path, store_url):
    line = CommandLine(tmp_path, store_url=store_url)
    line.write("wlmctl.toml", f'[machines.local]\nscratch = "{tmp_path}/scratch"\ncpus = 4\nshell = "sh"\n')
    yield line
    line.close()


#: Until the test lets it go on.
WAITS = "until [ -e ../go ]; do sleep 0.1; done"


def sweep(cli, count=12, then="sleep 0.2"):
    return cli.write("sweep.yaml", SWEEP % {"count": count, "then": then})


def witness(cli):
    path = cli.folder / "work" / "witness"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def once(count):
    return Counter(str(number) for number in range(1, count + 1))


def test_an_experiment_runs_to_its_end_with_one_command(cli):
    done = cli.run("run", sweep(cli))
    assert witness(cli) == once(12)
    assert (cli.folder / "results" / "witness").read_text() == (cli.folder / "work" / "witness").read_text()
    (identifier,) = cli.ids()
    assert identifier in done.stderr
    assert {task["state"] for task in cli.tasks(identifier).values()} == {"succeeded"}
    assert cli.run("logs", "--stdout", identifier, "simulate:3").stdout == "done 3\n"


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_is_resumed_and_no_command_starts_twice(cli, seed):
    chance = random.Random(seed)
    process = cli.start("run", sweep(cli))
    for _ in range(4):
        wait_until(partial(_is_there, cli, process), "the experiment is in the store")
        time.sleep(chance.uniform(0, 0.6))  # the moment of the kill is what is drawn here
        process.kill()
        process.wait()
        if not cli.ids():
            process = cli.start("run", "sweep.yaml")
            continue
        if cli.state(cli.ids()[0]) == "succeeded":
            break
        process = cli.start("resume", cli.ids()[0])
    (identifier,) = cli.ids()
    if process.poll() is None:
        assert process.wait(60) == 0, cli.said(process)
    elif cli.state(identifier) != "succeeded":
        cli.run("resume", identifier)
    assert cli.state(identifier) == "succeeded"
    assert witness(cli) == once(12)
    assert {task["attempt"] for name, task in cli.tasks(identifier).items() if "simulate" in name} == {1}


def test_jobs_go_on_after_ctrl_c_and_resume_collects_them(cli):
    process = cli.start("run", sweep(cli, count=2, then=WAITS))
    wait_until(lambda: sum(witness(cli).values()) == 2, "both jobs have started")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (identifier,) = cli.ids()
    assert f"wlmctl resume {identifier}" in cli.said(process)
    cli.write("go", "")
    cli.run("resume", identifier)
    assert witness(cli) == once(2)
    assert cli.state(identifier) == "succeeded"


def test_sigterm_ends_a_run_with_143_and_its_jobs_go_on(cli):
    process = cli.start("run", sweep(cli, count=1, then=WAITS))
    wait_until(lambda: witness(cli), "the job has started")
    process.terminate()
    assert process.wait(60) == 143
    cli.write("go", "")
    cli.run("resume", cli.ids()[0])
    assert witness(cli) == once(1)


def test_three_runs_share_one_store_and_one_machine_and_one_may_be_killed(cli, tmp_path):
    text = """
name: crowd%d
tasks:
  j:
    type: job
    foreach: {n: 1..8}
    command: |
      mkdir -p busy && mine=$(mktemp busy/XXXXXX)
      ls busy | wc -l >> loads
      until [ -e go ]; do sleep 0.1; done
      sleep 0.15
      rm "$mine"
      echo %d-${n} >> witness
"""
    processes = [cli.start("run", cli.write(f"c{number}.yaml", text % (number, number))) for number in range(3)]
    wait_until(lambda: len(cli.ids()) == 3, "all three are in the store")
    wait_until(lambda: (tmp_path / "loads").exists(), "jobs run")
    processes[0].kill()
    cli.write("go", "")
    for process in processes[1:]:
        assert process.wait(60) == 0, cli.said(process)
    killed = next(name for name in cli.ids() if name.startswith("crowd0"))
    cli.run("resume", killed)
    assert Counter((tmp_path / "witness").read_text().split()) == Counter(
        f"{number}-{n}" for number in range(3) for n in range(1, 9)
    )
    assert max(map(int, (tmp_path / "loads").read_text().split())) <= 4


def test_cancel_ends_a_running_job_and_proves_it(cli):
    cli.write("long.yaml", "name: long\ntasks: {j: {type: job, command: 'echo $$ > pid; sleep 300 & sleep 300'}}\n")
    process = cli.start("run", "long.yaml")
    pid = int(wait_until(lambda: _read(cli.folder / "pid"), "the job has started"))
    cli.run("cancel", "--wait", cli.ids()[0])
    assert not _alive(pid)
    assert process.wait(60) == 5
    assert cli.state(cli.ids()[0]) == "cancelled"


def test_cancel_of_a_run_that_was_killed_ends_its_job_too(cli):
    cli.write("long.yaml", "name: long\ntasks: {j: {type: job, command: 'echo $$ > pid; sleep 300'}}\n")
    process = cli.start("run", "long.yaml")
    pid = int(wait_until(lambda: _read(cli.folder / "pid"), "the job has started"))
    process.kill()
    process.wait()
    cli.run("cancel", cli.ids()[0], code=None)
    assert not _alive(pid)
    assert cli.state(cli.ids()[0]) == "cancelled"


def test_a_pause_starts_nothing_new_and_resume_goes_on(cli):
    cli.write(
        "held.yaml",
        "name: held\ntasks:\n  j:\n    type: job\n    directory: work\n    foreach: {n: 1..8}\n"
        "    command: 'echo ${n} >> witness; until test -e ../go; do sleep 0.1; done'\n",
    )
    process = cli.start("run", "held.yaml")
    wait_until(lambda: sum(witness(cli).values()) == 4, "as many jobs run as there is room for")
    identifier = cli.ids()[0]
    cli.run("pause", identifier)
    cli.write("go", "")
    wait_until(
        lambda: not {"assigned", "running", "deferred"} & {task["state"] for task in cli.tasks(identifier).values()},
        "what ran has ended",
    )
    assert sum(witness(cli).values()) == 4
    assert cli.state(identifier) == "paused"
    cli.run("resume", "--no-run", identifier)
    assert process.wait(60) == 0
    assert witness(cli) == once(8)


def test_retry_gives_failed_tasks_a_new_attempt_and_leaves_the_others(cli):
    cli.write(
        "flaky.yaml",
        "name: flaky\ntasks:\n"
        "  a: {type: job, command: 'echo a >> witness'}\n"
        "  b: {type: job, needs: [a], command: 'echo b >> witness; test -e fixed'}\n"
        "  c: {type: job, needs: [b], command: 'echo c >> witness'}\n",
    )
    cli.run("run", "flaky.yaml", code=1)
    (identifier,) = cli.ids()
    tasks = cli.tasks(identifier)
    assert (tasks["b"]["state"], tasks["b"]["failure_class"], tasks["b"]["exit_code"]) == ("failed", "user", 1)
    assert tasks["c"]["state"] == "skipped"
    cli.write("fixed", "")
    cli.run("retry", identifier)
    tasks = cli.tasks(identifier)
    assert {name: (task["state"], task["attempt"]) for name, task in tasks.items()} == {
        "a": ("succeeded", 1), "b": ("succeeded", 2), "c": ("succeeded", 1),
    }  # fmt: skip
    assert (cli.folder / "witness").read_text().split() == ["a", "b", "b", "c"]


def test_a_failed_attempt_is_tried_again_as_the_file_says(cli):
    cli.write(
        "again.yaml",
        "name: again\ntasks:\n  a:\n    type: job\n    retry: {limit: 2, delay: 0}\n"
        "    command: 'echo $WLMCTL_ATTEMPT >> witness; test $WLMCTL_ATTEMPT = 3'\n",
    )
    cli.run("run", "again.yaml")
    assert (cli.folder / "witness").read_text().split() == ["1", "2", "3"]


def test_a_timeout_ends_the_attempt_with_its_class(cli):
    cli.write("slow.yaml", "name: slow\ntasks: {a: {type: job, timeout: 1, command: sleep 60}}\n")
    cli.run("run", "slow.yaml", code=1)
    task = cli.tasks(cli.ids()[0])["a"]
    assert (task["state"], task["failure_class"]) == ("failed", "time")


def test_an_orchestrator_is_fed_through_the_store_and_replaced_when_it_is_killed(cli):
    first = cli.start("orchestrator", "--slots", "4")
    identifier = cli.run("submit", sweep(cli, count=8, then=WAITS)).stdout.strip()
    wait_until(lambda: witness(cli), "jobs run")
    first.kill()
    first.wait()
    cli.write("go", "")
    second = cli.start("orchestrator", "--slots", "4")
    cli.run("wait", identifier)
    assert witness(cli) == once(8)
    second.terminate()
    assert second.wait(60) == 0


def test_a_higher_priority_given_later_goes_first(cli):
    cli.write("wlmctl.toml", f'[machines.local]\nscratch = "{cli.folder}/scratch"\ncpus = 1\nshell = "sh"\n')
    text = "name: %s\ntasks:\n  j:\n    type: job\n    foreach: {n: 1..6}\n    command: 'echo %s >> order; sleep 0.3'\n"
    cli.write("a.yaml", text % ("a", "a"))
    cli.write("b.yaml", text % ("b", "b"))
    first = cli.run("submit", "a.yaml").stdout.strip()
    second = cli.run("submit", "b.yaml").stdout.strip()
    cli.run("priority", second, "urgent")
    daemon = cli.start("orchestrator", "--slots", "4")
    cli.run("wait", first, second)
    order = (cli.folder / "order").read_text().split()
    assert order[:6] == ["b"] * 6
    daemon.terminate()


def _is_there(cli, process):
    return cli.ids() or process.poll() is not None


def _read(path):
    return path.read_text().strip() if path.exists() else ""


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
