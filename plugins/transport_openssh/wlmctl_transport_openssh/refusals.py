"""What ``ssh`` says when it cannot log in, as one of our errors."""

from __future__ import annotations

from collections.abc import Sequence

from wlmctl.errors import LoginRefused, Unreachable, UntrustedHost
from wlmctl_transport_openssh.way import Way

_UNTRUSTED = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "revoked host key")
_REFUSED = ("Permission denied (", "Too many authentication failures", "No more authentication methods")
_DROPPED = ("kex_exchange_identification:", "Connection reset by", "Connection closed by")


def refusal(way: Way, said: str) -> Unreachable:
    """The error that the text stands for which ``ssh`` wrote before it ended."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" @\t\r")]
    where = f"machine {way.machine}: {way.login}"
    if any(words in said for words in _UNTRUSTED):
        why = _first(lines, ("host key is known", "HAS CHANGED", *_UNTRUSTED))
        return UntrustedHost(
            f"{where}: {why}; nothing was sent. See it and, if it is right, accept it:\n"
            f"  wlmctl machine show {way.machine}\n  wlmctl machine trust {way.machine}"
        )
    if any(words in said for words in _REFUSED):
        hint = f"ssh -fNM -S {way.control_path} {way.host}" if way.control_path else "set control_path and see the docs"
        return LoginRefused(
            f"{where} refused the login: {_first(lines, _REFUSED)}; "
            f"where it asks for more than a key, log in by hand and leave that open: {hint}"
        )
    if "subsystem request failed" in said:
        return Unreachable(f'machine {way.machine}: the host offers no SFTP (transport = "scp" may work)')
    return Unreachable(f"{where}: {'; '.join(lines[-2:])}")


def _first(lines: Sequence[str], words: Sequence[str]) -> str:
    """The line with the first of these words that there are."""
    return next(line.strip("@ ") for word in words for line in lines if word in line)


def is_dropped(said: str) -> bool:
    """True for a connection that the host dropped before the login, as sshd does when many come at once."""
    return any(words in said for words in _DROPPED) and not any(words in said for words in (*_UNTRUSTED, *_REFUSED))
