"""What the log of an sshd with ``LogLevel VERBOSE`` says of its logins and commands."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The lines of sshd_config that make it write all of this.
VERBOSE = ("LogLevel VERBOSE",)

_LOGIN = re.compile(r"Accepted \w+ for \S+ from (\S+ port \d+) ")
_END = re.compile(r"(?:Closing connection to|Connection closed by|Connection reset by) (?:user \S+ )?(\S+ port \d+)")


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many logins there were, how many at once, and how many commands (SFTP is none)."""

    logins: int = 0
    most_at_once: int = 0
    commands: int = 0

    @classmethod
    def of(cls, log: str) -> Traffic:
        """What these lines say."""
        logins = commands = most = 0
        alive: set[str] = set()
        for line in log.splitlines():
            if found := _LOGIN.search(line):
                logins += 1
                alive.add(found[1])
                most = max(most, len(alive))
            elif found := _END.search(line):
                alive.discard(found[1])
            elif line.startswith("Starting session: command"):
                commands += 1
        return cls(logins, most, commands)
