"""Commands arrive unchanged in ``sh`` through any login shell that is installed here."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from wlmctl.ssh.quoting import for_login_shell, quote

NASTY = "a 'b' \"c\" $(d) `e` \\f \\\\ \\n !g !! ~ * ? {x,y} [z] ; & | < > ( ) # % ^ = \t\ntwo\n\nlines\udcff ü"
SHELLS = ["sh", "bash", "dash", "tcsh", "csh", "fish", "zsh", "ksh", "busybox"]


@pytest.mark.parametrize("shell", SHELLS)
def test_any_text_survives_any_login_shell(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    argv = [program, "sh"] if shell == "busybox" else [program]
    command = for_login_shell(f"printf %s {quote(NASTY)}; echo; cat; exit 9")
    done = subprocess.run([*argv, "-c", command], input=b"stdin", capture_output=True, check=False)
    assert done.stdout.decode("utf-8", "surrogateescape") == f"{NASTY}\nstdin"
    assert (done.returncode, done.stderr) == (9, b"")


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        for_login_shell("echo \0")
