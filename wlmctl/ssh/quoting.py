"""Commands that reach ``sh`` on the far side unchanged, whatever the login shell is (sh, csh, fish)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# What every shell takes literally between single quotes, and sh also between double quotes. Left out: the quotes,
# backslash (fish), "!" and newline (csh), "$" and "`" (sh, between the double quotes), all that is not ASCII.
_UNSAFE = re.compile(rb"[^A-Za-z0-9 \t_./:=+,@%^~#&*(){}\[\]<>|;?-]")


def for_login_shell(script: str) -> str:
    """A command line that any login shell turns into ``sh`` running ``script`` (stdin stays the command's own)."""
    data = script.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError("a command cannot hold a NUL character")
    escaped = _UNSAFE.sub(lambda found: b"\\0%03o" % found[0][0], data).decode("ascii")
    return f"""exec sh -c 'eval "$(printf %b "{escaped}")"'"""


def quote(text: str) -> str:
    """``text`` as one word for ``sh``."""
    return shlex.quote(text)


def words(arguments: Sequence[str]) -> str:
    """The words of one command for ``sh``."""
    return " ".join(map(shlex.quote, arguments))
