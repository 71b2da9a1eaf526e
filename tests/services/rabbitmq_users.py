"""Users of a broker who may do only their part, by the lines that deploy/rabbitmq/permissions.sh gives."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.services.rabbitmq_api import Rabbit, Vhost

SCRIPT = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "permissions.sh"


def permission_line(folder: Path, part: str, user: str, vhost: str = "wlm", prefix: str = "wlm") -> list[str]:
    """What the script would have ``rabbitmqctl`` do."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "rabbitmqctl").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (programs / "rabbitmqctl").chmod(0o755)
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = [str(SCRIPT), "-p", vhost, "-x", prefix, part, user]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.splitlines()


def user_for(rabbit: Rabbit, folder: Path, vhost: str, part: str, user: str, prefix: str = "wlm") -> Vhost:
    """A new user of the vhost with the permissions of that part: orchestrator, worker or operator."""
    *_, configure, write, read = permission_line(folder, part, user, vhost, prefix)
    return rabbit.user(vhost, user, (configure, write, read))
