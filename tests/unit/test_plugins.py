"""The plugin index: what is found, what is imported, and what happens when plugins are wrong."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from wlmctl.errors import ExitCode, PluginConflict, PluginError, UnknownPlugin
from wlmctl.plugins.entry_points import Installed
from wlmctl.plugins.index import PluginIndex, PluginInfo

TRANSPORT = """
import wlmctl

@wlmctl.hookimpl
def wlmctl_transports():
    return {%s: lambda machine, options: %r}
"""


class Site:
    """A folder like site-packages, with distributions that are made by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.distribution("wlmctl", {})

    def distribution(self, name: str, entry_points: Mapping[str, str], version: str = "1.0") -> None:
        metadata = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        lines = "".join(f"{key} = {module}\n" for key, module in entry_points.items())
        (metadata / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[wlmctl]\n{lines}\n[other]\na = b\n")

    def module(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    def transport(self, distribution: str, name: str, offers: str | None = None) -> str:
        module = f"fake_{distribution.replace('-', '_')}"
        self.distribution(distribution, {f"transport_{name}": module})
        self.module(module, TRANSPORT % (repr(offers or name), distribution))
        return module

    def index(self, **environ: str) -> PluginIndex:
        return PluginIndex([str(self.folder)], environ)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def test_a_plugin_is_found_by_its_kind_and_name(site: Site) -> None:
    site.transport("wlmctl-one", "one")
    assert site.index().find("transport", "one")(None, {}) == "wlmctl-one"


def test_only_the_kind_that_is_looked_up_is_imported(site: Site) -> None:
    module = site.transport("wlmctl-one", "one")
    site.distribution("wlmctl-s", {"scheduler_s": "fake_s"})
    site.module(
        "fake_s", "import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_schedulers():\n    return {'s': lambda options: 1}\n"
    )
    index = site.index()
    assert Installed([str(site.folder)], {}).listed("transport") == ["one"]
    assert index.find("scheduler", "s")({}) == 1
    assert module not in sys.modules


def test_two_distributions_with_one_name_are_both_named_but_only_to_who_uses_it(site: Site) -> None:
    site.transport("wlmctl-one", "shared")
    site.transport("wlmctl-two", "other", offers="shared")
    site.transport("wlmctl-three", "fine")
    index = site.index()
    assert index.find("transport", "fine")(None, {}) == "wlmctl-three"
    with pytest.raises(PluginConflict, match=r"wlmctl-two 1\.0 .*wlmctl-one 1\.0") as caught:
        index.find("transport", "shared")
    assert caught.value.exit_code == ExitCode.USAGE
    conflicts = {row.distribution for row in index.installed() if row.error and "offered by" in row.error}
    assert conflicts == {"wlmctl-one", "wlmctl-two"}


@pytest.mark.parametrize("left_out", ["transport_other", "wlmctl-two", "Wlmctl_Two", "nothing,other"])
def test_a_conflict_is_solved_by_leaving_one_out(site: Site, left_out: str) -> None:
    site.transport("wlmctl-one", "shared")
    site.transport("wlmctl-two", "other", offers="shared")
    index = site.index(WLMCTL_DISABLE_PLUGINS=left_out)
    assert index.find("transport", "shared")(None, {}) == "wlmctl-one"
    (row,) = [row for row in index.installed() if row.distribution == "wlmctl-two"]
    assert row.error == "left out by WLMCTL_DISABLE_PLUGINS"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nonexistent_library", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit('bye')", "cannot be imported: SystemExit: bye"),
        ("def (", "cannot be imported: SyntaxError"),
        ("WLMCTL_API = 2", "is written for plugin API 2, this wlmctl has 1"),
        ("x = 1", "has no hook wlmctl_transports()"),
        ("import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_transprots(): return {}", "wlmctl_transprots"),
        ("import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_transports(): return {}[0]", "fails: KeyError"),
        ("import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_transports(): return []", "returns list, expected a mapping"),
        ("import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_transports(): return {'b': 3}", "expected a factory"),
        ("import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_transports(x): return {}", "x"),
    ],
)
def test_a_broken_plugin_is_one_warning_and_the_rest_works(
    site: Site, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    site.transport("wlmctl-one", "one")
    site.distribution("wlmctl-broken", {"transport_broken": "fake_broken"}, version="0.3")
    site.module("fake_broken", text)
    index = site.index()
    for _ in range(2):
        assert index.find("transport", "one")(None, {}) == "wlmctl-one"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "plugin transport_broken of wlmctl-broken 0.3 is left out" in warning
    assert reason in warning
    assert "\n" not in warning
    (row,) = [row for row in index.installed() if row.error]
    assert (row.name, reason in str(row.error)) == ("broken", True)
    with pytest.raises(UnknownPlugin, match=r"'broken': the plugin of wlmctl-broken 0\.3 cannot be used"):
        index.find("transport", "broken")


def test_a_broken_plugin_of_another_kind_is_not_even_noticed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.transport("wlmctl-one", "one")
    site.distribution("wlmctl-broken", {"scheduler_broken": "fake_broken"})
    site.module("fake_broken", "1 / 0")
    site.index().find("transport", "one")
    assert not caplog.records


def test_what_a_module_offers_beyond_its_entry_points_is_ignored_with_a_warning(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.module(
        "fake_both",
        """
        import wlmctl

        @wlmctl.hookimpl
        def wlmctl_transports():
            return {"t": dict}

        @wlmctl.hookimpl
        def wlmctl_schedulers():
            return {"s": dict}
        """,
    )
    site.distribution("wlmctl-both", {"transport_t": "fake_both"})
    index = site.index()
    index.find("transport", "t")
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "also offers a scheduler, which is ignored" in warning
    with pytest.raises(UnknownPlugin):
        index.find("scheduler", "s")


def test_a_module_with_an_entry_point_for_each_kind_is_no_warning(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.module(
        "fake_both",
        """
        import wlmctl

        @wlmctl.hookimpl
        def wlmctl_transports():
            return {"a": dict, "b": dict}

        @wlmctl.hookimpl
        def wlmctl_commands():
            return {"c": "fake_both:wlmctl_transports"}
        """,
    )
    site.distribution("wlmctl-both", {"transport_a": "fake_both", "transport_b": "fake_both", "command_c": "fake_both"})
    index = site.index()
    assert index.names("transport") == ["a", "b"]
    assert index.find("command", "c") == "fake_both:wlmctl_transports"
    assert not caplog.records


def test_a_command_that_its_entry_point_does_not_name_is_listed_as_a_mistake(site: Site) -> None:
    site.module("fake_c", "import wlmctl\n@wlmctl.hookimpl\ndef wlmctl_commands(): return {'hello': 'fake_c:x'}")
    site.distribution("wlmctl-c", {"command_mine": "fake_c"})
    (row,) = site.index().installed()
    assert (row.name, row.error) == ("mine", "wlmctl_commands() offers hello, expected mine as the entry point")
    with pytest.raises(UnknownPlugin, match=r"cannot be used: .* offers hello, expected mine"):
        site.index().find("command", "mine")


def test_an_unknown_name_says_what_was_meant_and_what_is_installed(site: Site) -> None:
    site.transport("wlmctl-one", "sftp")
    with pytest.raises(UnknownPlugin) as caught:
        site.index().find("transport", "sfpt")
    assert str(caught.value) == "transport 'sfpt': no such plugin (did you mean 'sftp'? installed: sftp)"


def test_a_name_that_was_left_out_says_so(site: Site) -> None:
    site.transport("wlmctl-one", "one")
    with pytest.raises(UnknownPlugin, match="'one': left out by WLMCTL_DISABLE_PLUGINS"):
        site.index(WLMCTL_DISABLE_PLUGINS="transport_one").find("transport", "one")


def test_a_distribution_that_is_found_twice_counts_once_and_the_first_wins(site: Site, tmp_path: Path) -> None:
    site.transport("wlmctl-one", "one")
    shadowed = Site(tmp_path / "later")
    shadowed.distribution("wlmctl-ONE", {"transport_one": "fake_shadowed"}, version="0.1")
    index = PluginIndex([str(site.folder), str(shadowed.folder)], {})
    assert index.find("transport", "one")(None, {}) == "wlmctl-one"
    assert [row.version for row in index.installed()] == ["1.0"]


def test_a_kind_that_does_not_exist_is_listed_as_a_mistake(site: Site) -> None:
    site.distribution("wlmctl-one", {"transprot_x": "fake_x"})
    assert site.index().installed() == [
        PluginInfo(
            "transprot",
            "x",
            "wlmctl-one",
            "1.0",
            "fake_x",
            "kind 'transprot' is none of transport, scheduler, task, batch, command",
        )
    ]


def test_a_checkout_that_is_not_installed_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"wlmctl is not installed, .*pip install -e"):
        PluginIndex([str(tmp_path)], {}).find("transport", "local")


def test_every_built_in_plugin_is_installed_and_usable() -> None:
    rows = PluginIndex(environ={}).installed()
    built_in = {(row.kind, row.name) for row in rows if row.distribution == "wlmctl"}
    assert {row.name: row.error for row in rows if row.distribution == "wlmctl" and row.error} == {}
    assert built_in == {
        ("transport", "fsspec"),
        ("transport", "local"),
        ("transport", "openssh"),
        ("transport", "scp"),
        ("transport", "sftp"),
        ("scheduler", "fifo"),
        ("scheduler", "matchmaking"),
        ("task", "environment"),
        ("task", "job"),
        ("task", "stage"),
        ("batch", "shell"),
        ("batch", "slurm"),
        ("batch", "lsf"),
        ("batch", "pbs"),
        ("batch", "sge"),
    }


def test_looking_for_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from wlmctl import plugins; plugins.command_names();"
        "heavy = 'pluggy', 'paramiko', 'yaml', 'rich', 'msgspec', 'importlib.metadata';"
        "print([m for m in heavy if m in sys.modules]);"
        "[plugins.names(k) for k in ('transport', 'scheduler', 'task', 'batch')];"
        "print([m for m in ('paramiko', 'yaml', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n[]\n"
