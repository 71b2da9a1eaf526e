"""What a shell does for a transport beside moving bytes: digests, free space; and what its messages mean."""

from __future__ import annotations

import re

from wlmctl.errors import Broken, Denied, NoSpace, NotFound, TransportError
from wlmctl.ssh.quoting import quote
from wlmctl.ssh.shell import Shell
from wlmctl.ssh.survey import Survey
from wlmctl.transport import Completed

_HEX = re.compile(rb"\b[0-9a-f]{64}\b")
_DF = re.compile(r"\s(\d+)\s+(-?\d+)\s+(-?\d+)\s+(?:-|\d+%)\s+/")
_KINDS: tuple[tuple[str, type[TransportError]], ...] = (
    ("no space left", NoSpace),
    ("quota exceeded", NoSpace),
    ("no such file", NotFound),
    ("nonexistent", NotFound),  # dash, of a redirection
    ("cannot open", NotFound),
)


def fault(path: str, done: Completed) -> TransportError:
    """The error that a failed command on ``path`` stands for, by its message (in the C locale)."""
    text = done.stderr.decode("utf-8", "replace").strip()
    last = text.splitlines()[-1] if text else f"exit code {done.exit_code}"
    return error_for(path, last)


def error_for(path: str, text: str) -> TransportError:
    """The error that the message ``text`` about ``path`` stands for."""
    low = text.lower()
    if "permission denied" in low or "not permitted" in low:
        return Denied(f"{path}: permission denied")
    for words, kind in _KINDS:
        if words in low:
            return kind(f"{path}: {text}")
    return Denied(f"{path}: refused: {text}")


def checked(ssh: Shell, path: str, script: str, stdin: bytes = b"") -> bytes:
    """Run ``script`` about ``path`` in the C locale and return its stdout; its failure becomes an error."""
    done = ssh.run_script(f"LC_ALL=C; export LC_ALL\n{script}", stdin)
    if done.exit_code != 0:
        raise fault(path, done)
    return done.stdout


def regular_file(path: str) -> str:
    """The beginning of a script that goes on only if ``path`` is a regular file: to open a FIFO would wait for ever."""
    return (
        f"p={quote(path)}\n"
        '[ -e "$p" ] || { echo "No such file or directory" >&2; exit 1; }\n'
        '[ -f "$p" ] || { echo "is not a regular file" >&2; exit 1; }\n'
    )


def digest(ssh: Shell, tools: Survey, path: str, size_bytes: int | None = None) -> str | None:
    """The sha256 of the file, or of its beginning, by the far side's own tool; None where it has none."""
    if tools.digest_command is None:
        return None
    content = f'{tools.digest_command} < "$p"'
    if size_bytes is not None:
        content = f'head -c {size_bytes} < "$p" | {tools.digest_command}'
    found = _HEX.search(checked(ssh, path, f"{regular_file(path)}{content}"))
    if found is None:
        raise Broken(f"{path}: {tools.digest_tool} printed no sha256")
    return found[0].decode("ascii")


def copy(ssh: Shell, source: str, destination: str, size_bytes: int | None = None) -> bool:
    """Copy a file, or its beginning, on the far side; blocks are shared where its ``cp`` and file system can."""
    to = quote(destination)
    if size_bytes is None:
        copied = f'cp --reflink=auto -- "$p" {to} 2>/dev/null || cp -- "$p" {to}'
    else:
        copied = f'head -c {size_bytes} < "$p" > {to}'
    checked(ssh, destination, f"{regular_file(source)}rm -f -- {to}\n{copied}")
    return True


def free_bytes(ssh: Shell, path: str) -> int | None:
    """Bytes left on the file system of ``path``, or of the nearest parent that is there; None where df is silent."""
    script = f'p={quote(path)}; while [ ! -d "$p" ] && [ "$p" != / ]; do p=$(dirname -- "$p"); done; df -Pk -- "$p"'
    done = ssh.run_script(f"LC_ALL=C; export LC_ALL\n{script}")
    found = _DF.search(done.stdout.decode("utf-8", "replace"))
    return max(int(found[3]), 0) * 1024 if found else None
