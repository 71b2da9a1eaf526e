"""Far programs that lie, end early or say much: what scp and tar of the host do is believed only when it is proven."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.sshd import Farm, require_sshd
from tests.staged import RETRIED, Ends, content, is_told_in_a_line
from tests.transfers import leftovers
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.errors import Denied, NoSpace, TaskFailed
from wlmctl.transfer import Summary, Verify

Programs = Callable[..., Ends]
_ENDS_EARLY = 'case " $* " in *" -f "*) /usr/bin/scp "$@" | head -c 60000;; *) exec /usr/bin/scp "$@";; esac\n'
_DROPS = 'case " $* " in *" -t "*) head -c 60000 | /usr/bin/scp "$@";; *) exec /usr/bin/scp "$@";; esac\n'
_CONFIRMS = (  # takes a file as a server would, and keeps nothing of it
    'case " $* " in *" -t "*) printf "\\0\\0\\0\\0"; cat >/dev/null;; *) exec /usr/bin/scp "$@";; esac\n'
)
_SAYS = "printf '\\001scp: {}\\n'; cat >/dev/null; exit 1\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    """Gives the ends of a machine ``odd`` whose programs of these names are these shell scripts."""
    require_sshd()
    farm = Farm(tmp_path / "farm", first=85)
    pool = ConnectionPool(open_transport)

    def start(**scripts: str) -> Ends:
        folder = tmp_path / "programs"
        folder.mkdir()
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}")
            (folder / name).chmod(0o755)
        machine = farm.add("odd", options=["PermitUserEnvironment yes"])
        keys = machine.authorized_keys.read_text()
        machine.authorized_keys.write_text(f'environment="PATH={folder}:{os.environ["PATH"]}" {keys}')
        for name, value in farm.write_inventory(tmp_path / "inventory").env.items():
            monkeypatch.setenv(name, value)
        return Ends(farm, pool, tmp_path, {"odd": "scp"}, timeout_s=10)

    yield start
    pool.close_all()
    farm.close()


def told(ends: Ends, source: str, what: Path, to: str, verify: Verify = Verify.SIZE) -> Exception:
    """The error of a copy, which has left nothing."""
    out = ends.folder / "out"
    error = ends.tried(source, what, to, out, verify=verify)
    assert isinstance(error, Exception), error
    assert is_told_in_a_line(error), error
    assert content(out) is None
    assert leftovers(ends.folder) == []
    return error


@pytest.mark.parametrize("what", ["big", "sub"])
def test_what_ends_early_on_its_way_down_is_not_delivered(programs: Programs, data: Path, what: str) -> None:
    (data / "sub" / "small").write_bytes(os.urandom(100_000))
    error = told(programs(scp=_ENDS_EARLY), "odd", data / what, "local")
    assert isinstance(error, (TaskFailed, *RETRIED)), error


@pytest.mark.parametrize("script", [_DROPS, _CONFIRMS], ids=["drops the rest", "confirms and keeps nothing"])
def test_what_does_not_arrive_whole_is_not_delivered(programs: Programs, data: Path, script: str) -> None:
    ends = programs(scp=script)
    ends.timeout_s = 2  # which is waited for
    error = told(ends, "local", data / "big", "odd")
    assert isinstance(error, RETRIED), error


@pytest.mark.parametrize("script", ["head -c 4000 >/dev/null; exit 0\n", "exit 1\n", "kill -9 $$\n"])
def test_small_files_that_no_tar_unpacks_are_not_delivered(programs: Programs, data: Path, script: str) -> None:
    error = told(programs(tar=script), "local", data / "sub", "odd")
    assert isinstance(error, (Denied, *RETRIED)), error


@pytest.mark.parametrize("verify", [Verify.SHA256, Verify.SIZE])
def test_a_file_that_arrives_with_another_byte_is_found_by_its_digest_only(
    programs: Programs, data: Path, verify: Verify
) -> None:
    """The far tool hashes what is there: another byte is found by sha256, and never by size."""
    spoils = (
        '/usr/bin/scp "$@"; code=$?; for p do :; done; printf X | dd of="$p" bs=1 seek=5000 conv=notrunc 2>/dev/null\n'
    )
    ends = programs(scp=f'case " $* " in *" -t "*) {spoils} exit $code;; *) exec /usr/bin/scp "$@";; esac\n')
    if verify is Verify.SHA256:
        assert "another sha256" in str(told(ends, "local", data / "big", "odd", verify))
    else:
        assert isinstance(ends.tried("local", data / "big", "odd", ends.folder / "out", verify=verify), Summary)


@pytest.mark.parametrize(
    ("words", "kind"),
    [("out: Disk quota exceeded", NoSpace), ("no\\033[31m way\\r", Denied), ("out: No space left on device", NoSpace)],
)
def test_what_a_far_scp_says_is_told_in_one_line(
    programs: Programs, data: Path, words: str, kind: type[Exception]
) -> None:
    error = told(programs(scp=_SAYS.format(words)), "local", data / "big", "odd")
    assert isinstance(error, kind), error


def test_a_host_without_a_tool_that_hashes_is_read_back(programs: Programs, data: Path) -> None:
    nothing = dict.fromkeys(("openssl", "sha256sum", "shasum", "python3", "perl", "sha256"), "exit 127\n")
    summary = programs(**nothing).tried("local", data / "big", "odd", data.parent / "out")
    assert isinstance(summary, Summary), summary
    assert summary.read_back == 1
    assert content(data.parent / "out") == content(data / "big")
