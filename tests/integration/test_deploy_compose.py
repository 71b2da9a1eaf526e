"""compose.yaml, run where Docker is: an experiment goes through the fleet that it starts."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.services.docker import docker_works

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
@pytest.mark.long
def test_an_experiment_goes_through_the_containers(tmp_path):
    if not docker_works() or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("this test needs Docker with compose")
    for name in ("deploy", "wlmctl", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "secrets"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "experiment.yaml").write_text("name: first\ntasks:\n  compute: {type: job, command: echo 42}\n")
    project = f"wlm{uuid.uuid4().hex[:8]}"

    def compose(*words):
        command = ["docker", "compose", "-p", project, "-f", "deploy/compose.yaml", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    subprocess.run([tmp_path / "deploy/compose/make-secrets"], check=True)
    try:
        compose("up", "--detach", "--build")
        run = ("run", "--rm", "-T")
        id_ = compose(*run, "client", "submit", "--local-on", "container", "experiment.yaml").strip()
        compose(*run, "client", "wait", id_, "--timeout", "120")
        assert "42" in compose(*run, "client", "logs", id_, "compute", "--stdout")
        assert "wlm.work.job" in compose(*run, "operator", "queue", "list")
        assert len(compose("ps", "--quiet", "worker").split()) == 2
    finally:
        compose("down", "--volumes", "--remove-orphans", "--timeout", "20")
