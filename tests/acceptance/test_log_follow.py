"""What a job of a cluster prints is shown soon after it was written, over the login that is there already."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import WLMCTL, CommandLine
from tests.services.sshd import Farm
from tests.waiting import wait_until

#: Seconds that are promised from a line's writing to its showing; three times as many are allowed here, where eight
#: other tests may run on the same two processors.
PROMISED_S = 2.0

LINES = 12

TALKS = f"""
name: talks
tasks:
  it:
    type: job
    machine: cluster
    command: |
      i=0; echo ready
      until [ -e ~/listened ]; do sleep 0.1; done
      while [ $i -lt {LINES} ]; do i=$((i + 1)); date +%s.%N; sleep 0.7; done
"""


@pytest.fixture
def cli(cluster: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    inventory = cluster.write_inventory(tmp_path / "site", extra={"cluster": 'batch = "slurm"\n'})
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


@pytest.mark.long
def test_each_line_of_a_running_cluster_job_is_shown_within_two_seconds_without_a_login_of_its_own(
    cli: CommandLine, cluster: Farm
) -> None:
    running = cli.start("run", cli.write("talks.yaml", TALKS))
    wait_until(lambda: cli.ids() and cli.tasks(cli.ids()[0])["it"]["started"], "the job has started", 60)
    follow = [*WLMCTL, "logs", "-f", cli.ids()[0], "it", "--stdout", "-o", "json"]
    late_s: list[float] = []
    with subprocess.Popen(follow, cwd=cli.folder, env=cli.environ, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert json.loads(shown.stdout.readline())["text"] == "ready\n"
        logins = cluster["cluster"].log_text.count("Accepted")
        (cluster["cluster"].home / "listened").touch()
        pieces = 0
        for piece in shown.stdout:
            now_s, pieces = time.time(), pieces + 1
            late_s += [now_s - float(stamp) for stamp in json.loads(piece)["text"].split()]
    assert shown.returncode == 0
    assert running.wait(60) == 0, cli.said(running)
    assert len(late_s) == LINES
    assert pieces > 3, "they came while it ran, not at its end"
    assert max(late_s) < 3 * PROMISED_S, late_s
    assert cluster["cluster"].log_text.count("Accepted") - logins <= 1
