"""The native recipe for Debian, as far as it goes without systemd: its commands, units and settings make a fleet."""

from __future__ import annotations

import getpass
import grp
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.environments import Environment
from tests.services.postgres import native_server
from tests.services.rabbitmq import require
from tests.waiting import wait_until

SETUP = Path(__file__).parents[2] / "deploy" / "debian-setup"


def offline_pip(environment):
    """A ``pip`` in an environment that has all that wlmctl needs, and no index."""
    words = [sys.executable, "-m", "pip", "--python", str(environment.python), "install"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    pip = environment.folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nshift\nexec {shlex.join([*words, *offline])} "$@"\n')
    pip.chmod(0o755)


class Unit:
    """What systemd would do with an installed unit."""

    def __init__(self, file, root, instance=""):
        text = file.read_text().replace("%l", "host").replace("%i", instance)
        self.environ = dict(word.split("=", 1) for word in shlex.split(re.search(r"^Environment=(.*)$", text, re.M)[1]))
        self.environ = {name: value.replace("/etc/", f"{root}/etc/", 1) for name, value in self.environ.items()}
        line = re.search(r"^ExecStart=(.*)$", text, re.M)[1]
        for name, value in self.environ.items():
            line = line.replace(f"${name}", value)
        self.words = shlex.split(line.replace("/opt/", f"{root}/opt/", 1))
        self.user = re.search(r"^User=(.*)$", text, re.M)[1]

    def start(self, folder, log):
        environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", **self.environ}
        with log.open("wb") as out:
            return subprocess.Popen(self.words, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stderr=out)


@pytest.fixture
def hosts(tmp_path):
    with require(tmp_path / "broker", private=True) as node, native_server() as server:
        yield node, server


def test_the_recipe_makes_a_fleet_that_works(hosts, tmp_path):
    node, server = hosts
    root = tmp_path / "root"
    programs = node.write_control(tmp_path / "programs")
    environ = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "WLMCTL_ROOT": str(root),
        "WLMCTL_USER": getpass.getuser(),
        "PGHOST": str(server.folder),
        "PGPORT": str(server.port),
        "PGUSER": "wlm",
    }

    def setup(*words):
        done = subprocess.run([SETUP, *words], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    environment = Environment(root / "opt" / "wlmctl", ["postgres"])
    offline_pip(environment)
    broker, store = f"{node.host}:{node.port}", f"{server.address}:{server.port}"
    setup("broker")
    setup("broker-user", "host")
    setup("store")
    setup("store")  # harmless to repeat
    setup("orchestrator", broker, store)
    assert "start wlmctl-worker@1" in setup("worker", "host", broker)

    settings = root / "etc" / "wlmctl"
    group = grp.getgrgid(os.getgid()).gr_name
    for file in settings.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o640, file
        assert file.group() == group
    passwords = {file.name: file.read_text() for file in settings.glob("*.password")}
    assert set(passwords) == {"orchestrator.password", "operator.password", "host.password", "store.password"}

    units = root / "etc" / "systemd" / "system"
    orchestrator = Unit(units / "wlmctl-orchestrator.service", root)
    worker = Unit(units / "wlmctl-worker@.service", root, "1")
    assert {orchestrator.user, worker.user} == {getpass.getuser()}
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "experiment.yaml").write_text(
        "name: first\ntasks:\n  compute: {type: job, command: 'echo 42 > answer'}\n"
    )
    processes = [orchestrator.start(folder, tmp_path / "lead.log"), worker.start(folder, tmp_path / "work.log")]

    def logs():
        return (tmp_path / "lead.log").read_text() + (tmp_path / "work.log").read_text()

    try:
        client = {**os.environ, **orchestrator.environ}
        submit = [environment.folder / "bin" / "wlmctl", "submit", "experiment.yaml"]
        wait_until(lambda: (node.queue("wlm", "wlm.work.job") or {}).get("consumers"), "the worker consumes", 60)
        id_ = subprocess.run(submit, cwd=folder, env=client, check=True, capture_output=True, text=True).stdout.strip()
        wait = [environment.folder / "bin" / "wlmctl", "wait", id_, "--timeout", "120"]
        done = subprocess.run(wait, cwd=folder, env=client, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr + logs()
        assert (folder / "answer").read_text() == "42\n"
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(60) for process in processes]
    assert codes == [0, 0], logs()
    assert not any(password in logs() for password in passwords.values())
