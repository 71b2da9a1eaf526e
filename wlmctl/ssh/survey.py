"""What a login offers beyond a channel: a shell, its home, the tools that transports use; found in one command."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from wlmctl.errors import Broken, TurnedAway
from wlmctl.ssh.shell import Shell

log = logging.getLogger(__name__)

#: sha256 of stdin as hex, fastest first (coreutils' own is five times slower than the others).
_DIGESTS = (
    ("openssl", "openssl dgst -sha256"),
    ("sha256sum", "sha256sum"),
    ("shasum", "shasum -a 256"),
    ("sha256", "sha256 -q"),
    (
        "python3",
        "python3 -c 'import hashlib, sys; print(hashlib.file_digest(sys.stdin.buffer, \"sha256\").hexdigest())'",
    ),
)
_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_SCRIPT = "\n".join(
    [
        'echo "wlm-shell"',
        'echo "home=$HOME"',
        # Each tool is tried, not looked for: a name on the PATH may be a shim that fails.
        *(
            f'[ -n "$sha" ] || case "$({command} </dev/null 2>/dev/null)" in *{_EMPTY_SHA256}*) sha={name};; esac'
            for name, command in _DIGESTS
        ),
        'echo "sha=$sha"',
        'stat=; case "$(stat -c %f -- / 2>/dev/null)" in 4*) stat=gnu;; '
        '*) case "$(stat -f %Xp -- / 2>/dev/null)" in 4*) stat=bsd;; esac;; esac',
        'echo "stat=$stat"',
        "command -v scp >/dev/null 2>&1 && echo scp=yes",
        'tar=; if command -v tar >/dev/null 2>&1; then case "$(tar --version 2>/dev/null)" in *bsdtar*) tar=bsd;; '
        "*) tar=other;; esac; fi",
        'echo "tar=$tar"',
        'echo "end=yes"',
    ]
)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a shell has shown: its home, its sha256 tool, the dialect of its ``stat`` ("gnu", "bsd" or ""), scp, and
    the kind of its ``tar`` ("bsd", "other" or "")."""

    home: str
    digest_tool: str | None
    stat: str
    has_scp: bool
    tar: str

    @property
    def digest_command(self) -> str | None:
        """A command for ``sh`` that prints the sha256 of its stdin."""
        return dict(_DIGESTS).get(self.digest_tool or "")


def survey(ssh: Shell) -> Survey | None:
    """Try the login's shell; None where there is none (SFTP only).

    ``TurnedAway`` where something has answered that is no shell: it may never have had one, or not just now.
    """
    try:
        done = ssh.run_script(_SCRIPT, timeout_s=ssh.timeout_s)
    except Broken as error:
        if not ssh.is_active():
            raise
        log.debug("no shell: %s", error)
        return None
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    if "wlm-shell" not in lines or "end=yes" not in lines:
        return None
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return Survey(
        found.get("home", "/"), found.get("sha") or None, found.get("stat", ""), "scp" in found, found.get("tar", "")
    )


class Surveying(threading.Thread):
    """A survey in a thread of its own, begun once ``is_due``, while its caller does something else with the login."""

    def __init__(self, ssh: Shell, is_due: threading.Event) -> None:
        super().__init__(daemon=True, name="survey")
        self._ssh, self._is_due = ssh, is_due
        self._found: Survey | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """In the thread."""
        self._is_due.wait()
        try:
            self._found = survey(self._ssh)
        except BaseException as error:
            self._error = error

    def result(self) -> Survey | None:
        """Wait for it; None where the login has no shell."""
        self.join()
        if self._error is not None and not isinstance(self._error, TurnedAway):
            raise self._error
        return self._found

    def turned_away(self) -> TurnedAway | None:
        """Wait for it: what the login has answered instead of running a command, if it did."""
        self.join()
        return self._error if isinstance(self._error, TurnedAway) else None
