"""Docker, where it works: asked for lazily, so that nothing needs it."""

from __future__ import annotations

import functools
import shutil
import subprocess


@functools.cache
def docker_works() -> bool:
    """True when there is a Docker engine that answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
