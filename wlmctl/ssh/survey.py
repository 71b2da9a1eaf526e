"""What a login offers beyond a channel: a shell, its home, the tools that transports use; found in one command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from wlmctl.errors import Broken
from wlmctl.ssh.shell import Shell
from wlmctl.transport import Completed

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

#: The first line of the answer of a shell.
GREETING = "wlm-shell"

SCRIPT = "\n".join(
    [
        f'echo "{GREETING}"',
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


#: Of a shell that has not told what it has.
NO_TOOLS = Survey("/", None, "", False, "")


def survey(ssh: Shell) -> Survey | None:
    """Try the login's shell; None where there is none (SFTP only).

    ``TurnedAway`` where something has answered that is no shell: it may never have had one, or not just now.
    """
    return surveyed(ssh, lambda: ssh.run_script(SCRIPT, timeout_s=ssh.timeout_s))


def surveyed(ssh: Shell, run: Callable[[], Completed]) -> Survey | None:
    """As ``survey``, with ``SCRIPT`` run by ``run``."""
    try:
        done = run()
    except Broken as error:
        if not ssh.is_active():
            raise
        log.debug("no shell: %s", error)
        return None
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    if GREETING not in lines or "end=yes" not in lines:
        return None
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return Survey(
        found.get("home", "/"), found.get("sha") or None, found.get("stat", ""), "scp" in found, found.get("tar", "")
    )
