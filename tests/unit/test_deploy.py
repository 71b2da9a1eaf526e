"""What lies in deploy/ holds together: what only Docker or systemd can run is at least read."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from wlmctl.cli.main import cli
from wlmctl.config import Config, load_config

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "wlmctl"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def understood(words: list[str]) -> None:
    """Fails unless ``wlmctl WORDS`` is a command with options that there are."""
    with click.Context(cli, info_name="wlmctl") as top:
        name, command, rest = cli.resolve_command(top, words)
        command.make_context(name, rest, parent=top)


def settings(service: str) -> Config:
    """The configuration that a service of compose.yaml has."""
    (file,) = [
        text.split(":")[0] for text in SERVICES[service]["volumes"] if text.split(":")[1] == "/etc/wlmctl/wlmctl.toml"
    ]
    return load_config(str(DEPLOY / file))


def test_compose_has_a_broker_a_store_an_orchestrator_and_two_workers() -> None:
    assert set(SERVICES) >= {"rabbitmq", "postgres", "orchestrator", "worker"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    started = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert started == {"rabbitmq", "postgres", "orchestrator", "worker"}
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= started, name


def test_images_of_others_have_a_version_and_ours_is_built_from_what_is_here() -> None:
    for name, service in SERVICES.items():
        if name not in OURS:
            assert re.search(r":\d[\w.-]*$", service["image"]), f"{name}: {service['image']}"
    build = SERVICES["orchestrator"]["build"]
    root = (DEPLOY / build["context"]).resolve()
    dockerfile = (root / build["dockerfile"]).read_text()
    for line in dockerfile.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (root / source).exists(), line
                assert f"!{source}" in (root / f"{build['dockerfile']}.dockerignore").read_text().splitlines()


@pytest.mark.parametrize("service", ["orchestrator", "worker"])
def test_each_command_of_compose_is_one(service: str) -> None:
    understood(SERVICES[service]["command"])


def test_no_password_stands_in_compose_and_each_secret_is_a_file_that_is_made(tmp_path: Path) -> None:
    subprocess.run([DEPLOY / "compose" / "make-secrets", tmp_path / "secrets"], check=True)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    declared = {name: entry["file"] for name, entry in COMPOSE["secrets"].items()}
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", ())} == set(declared)
    for file in declared.values():
        assert (tmp_path / "secrets" / Path(file).name).exists(), file
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASS" in name or "SECRET" in name:
                assert name.endswith("_FILE")
                assert value.startswith("/run/secrets/")


def test_what_is_made_once_is_kept(tmp_path: Path) -> None:
    passwords = []
    for _ in range(2):
        subprocess.run([DEPLOY / "compose" / "make-secrets", tmp_path], check=True)
        passwords.append({file.name: file.read_text() for file in tmp_path.glob("*_password")})
    assert passwords[0] == passwords[1]
    assert len(set(passwords[0].values())) == len(passwords[0]) == 4
    text = (tmp_path / "definitions.json").read_text()
    assert not any(password.strip() in text for password in passwords[0].values())


def test_rabbitmqs_users_are_those_of_the_configurations(tmp_path: Path) -> None:
    subprocess.run([DEPLOY / "compose" / "make-secrets", tmp_path], check=True)
    definitions = json.loads((tmp_path / "definitions.json").read_text())
    users = {user["name"]: user for user in definitions["users"]}
    assert all(user["tags"] == "" for user in users.values())
    for service in ("orchestrator", "worker", "operator"):
        config = settings(service)
        assert config.broker == f"amqp://{service}@rabbitmq/{definitions['vhosts'][0]['name']}"
        assert service in users
        assert config.broker_password is not None
        assert config.broker_password.value == f"/run/secrets/{service}_password"
        assert f"{service}_password" in SERVICES[service]["secrets"]


def test_only_who_needs_the_store_has_its_password() -> None:
    for service in OURS:
        needs = service != "worker"
        assert settings(service).store.startswith("postgresql://wlmctl@postgres/") is needs, service
        assert ("store_password" in SERVICES[service]["secrets"]) is needs, service


def unit(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_each_unit_starts_a_command_that_is_one_as_a_user_of_its_own(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["User"] == "wlmctl"
    program, *words = shlex.split(service["ExecStart"].replace("%l", "host").replace("%i", "1"))
    assert program == "/opt/wlmctl/bin/wlmctl"
    options = re.search(r"WORKER_OPTIONS=(\S+)", service["Environment"])
    understood([word for word in words if word != "$WORKER_OPTIONS"] + ([options[1]] if options else []))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_jobs_of_this_host_outlive_a_restart_of_the_unit(path: Path) -> None:
    assert unit(path)["Service"]["KillMode"] == "process"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit(path: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this test needs systemd-analyze (Debian: systemd)")
    # the program and its user are those of a host where they are installed
    text = path.read_text().replace("/opt/wlmctl/bin/wlmctl", "/bin/true").replace("User=wlmctl", "User=root")
    copy = tmp_path / path.name.replace("@", "@1")
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    about_it = [line for line in done.stderr.splitlines() if path.stem.rstrip("@") in line]
    assert (done.returncode, about_it) == (0, [])


def test_the_permissions_of_each_part_are_the_three_patterns() -> None:
    script = DEPLOY / "rabbitmq" / "permissions.sh"
    said = subprocess.run([script, "-n", "worker", "host1"], check=True, capture_output=True, text=True).stdout
    configure, write, read = said.splitlines()
    assert re.search(configure, "wlm.worker.host1.name-abcdef.control")
    for other in ("wlm.worker.host10.n-abcdef", "wlm.work.job", "wlm.results", "wlm.dead", "wlm.work", "amq.default"):
        assert not re.search(configure, other), other
    assert [name for name in ("wlm.work", "wlm.results", "wlm.control", "wlm.dead") if re.search(write, name)] == [
        "wlm.results",
        "wlm.dead",
    ]
    for other in ("wlm.work", "wlm.control", "wlm.results", "wlm.dead", "wlm.worker.host10.n-abcdef"):
        assert not re.search(read, other), other
    for part in ("orchestrator", "worker", "operator"):
        said = subprocess.run([script, "-n", part, "u"], check=True, capture_output=True, text=True).stdout
        assert not any(re.search(pattern, "amq.default") for pattern in said.splitlines())
