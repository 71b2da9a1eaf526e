"""What every test starts from: no settings of the person who runs it, and folders of its own."""

from __future__ import annotations

import os
import signal

import pytest

pytest.register_assert_rewrite("wlmctl.testing")

# assert rewriting comes before any import of the suites
from tests.services.fixtures import (  # noqa: E402
    cluster,
    docker_compose_file,
    fake_queue,
    farm,
    gridengine,
    new_store,
    postgres,
    rabbit,
    slurm,
    store_url,
    vhost,
)

__all__ = [
    "cluster", "docker_compose_file", "fake_queue", "farm", "gridengine", "new_store", "postgres", "rabbit", "slurm",
    "store_url", "vhost",
]  # fmt: skip

# What was started by nohup, or by a script in the background, ignores signals, and so would all that the tests start.
for _signal, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _usual)


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings and state of this test alone, also for the processes it starts."""
    for name in [name for name in os.environ if name.startswith("WLMCTL_") and not name.startswith("WLMCTL_TEST_")]:
        monkeypatch.delenv(name)
    user = tmp_path_factory.mktemp("user")
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME"):
        folder = user / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
