"""What every test starts from: no settings of the person who runs it, and folders of its own."""

from __future__ import annotations

import os

import pytest

pytest.register_assert_rewrite("wlmctl.testing")

from tests.services.fixtures import farm  # noqa: E402 (assert rewriting comes before any import of the suites)

__all__ = ["farm"]


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
