"""What a login offers is found while other work goes on: a slow tool of the host holds up only who needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from wlmctl.errors import Broken, TurnedAway
from wlmctl.ssh.surveying import Surveying
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import Completed

_WAIT_S = 10.0
_BEGINNING = b"Welcome!\nwlm-0123:wlm-shell\nhome=/home/ada\n"


class _Login:
    """A login whose survey has told ``first`` and stays there until it is let go on to ``ending``."""

    timeout_s = _WAIT_S

    def __init__(self, first: bytes, ending: bytes | Exception, *, is_active: bool = True) -> None:
        self._first, self._ending, self._is_active = first, ending, is_active
        self.may_end = threading.Event()

    def is_active(self) -> bool:
        return self._is_active

    def run_script(self, _: str, *, timeout_s: float, heard: Callable[[bytes], None]) -> Completed:
        heard(self._first)
        assert self.may_end.wait(timeout_s), "nobody let the survey end"
        if isinstance(self._ending, Exception):
            raise self._ending
        return Completed(0, self._ending, b"")


def surveying(login: Any) -> Surveying:
    is_due = threading.Event()
    is_due.set()
    return Surveying(cast("SshTransport", login), is_due)


def test_a_shell_is_known_by_its_first_words_while_the_host_still_tries_its_tools() -> None:
    login = _Login(_BEGINNING, b"wlm-shell\nhome=/home/ada\nsha=openssl\nend=yes\n")
    survey = surveying(login)

    assert survey.has_shell()
    assert survey.is_alive()
    login.may_end.set()
    assert survey.tools().digest_tool == "openssl"


def test_a_shell_whose_survey_is_cut_off_has_no_tools() -> None:
    login = _Login(_BEGINNING, Broken("a command did not end within 30 s"))
    survey = surveying(login)
    login.may_end.set()

    assert survey.has_shell()
    assert survey.tools().digest_command is None


@pytest.mark.parametrize("ending", [b"", TurnedAway("m", "SFTP only"), Broken("no channel")])
def test_a_login_that_answers_something_else_has_no_shell(ending: bytes | Exception) -> None:
    login = _Login(b'printf wlm-0123:; echo "wlm-shell"\n', ending)
    survey = surveying(login)
    login.may_end.set()

    assert not survey.has_shell()


def test_a_connection_that_is_lost_meanwhile_is_told_to_who_asks_for_the_tools() -> None:
    login = _Login(_BEGINNING, Broken("machine m: the connection was lost"), is_active=False)
    survey = surveying(login)

    assert survey.has_shell()
    login.may_end.set()
    with pytest.raises(Broken, match="the connection was lost"):
        survey.tools()
