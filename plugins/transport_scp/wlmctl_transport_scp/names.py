"""Requests about names, many by one command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from wlmctl.ssh.quoting import quote, words
from wlmctl.ssh.shell_files import checked
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import FileInfo
from wlmctl_transport_scp import listing
from wlmctl_transport_scp.batching import batches, share

#: A function that renames $1 to $2. ``mv`` would move into a folder, or into the one that a symlink points to, instead
#: of replacing it.
_RENAME = """renamed() {
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then echo "$1 -> $2: No such file or directory" >&2; return 1; fi
  if [ -L "$2" ]; then if [ -d "$2" ]; then rm -f -- "$2" || return 1; fi
  elif [ -d "$2" ]; then
    if [ -d "$1" ] && [ ! -L "$1" ]; then rmdir -- "$2" || return 1
    else echo "$2: is a folder" >&2; return 1; fi
  fi
  mv -f -- "$1" "$2"
}
"""
#: One process for all, where there is a perl; elsewhere one for each.
_RENAME_ALL = (
    "if perl -e 1 >/dev/null 2>&1; then exec perl -e "
    + quote('while (@ARGV) { my ($s, $d) = splice(@ARGV, 0, 2); rename($s, $d) or die("$s -> $d: $!\\n") }')
    + ' -- "$@"; fi\n'
    + _RENAME
    + 'while [ $# -gt 0 ]; do renamed "$1" "$2" || exit 1; shift 2; done'
)


def rename(ssh: SshTransport, source: str, destination: str) -> None:
    """Move ``source`` to ``destination``, replacing what is there."""
    checked(ssh, f"{source} -> {destination}", f"{_RENAME}renamed {words([source, destination])}")


def rename_many(ssh: SshTransport, pairs: Sequence[tuple[str, str]]) -> None:
    """Rename each (source, destination)."""
    for batch in batches(pairs, lambda pair: share(pair[0]) + share(pair[1])):
        named = words([name for pair in batch for name in pair])
        checked(ssh, batch[0][1], f"set -- {named}\n{_RENAME_ALL}")


def make_folders(ssh: SshTransport, folders: Sequence[tuple[str, int]]) -> None:
    """Make each (path, mode) and its missing parents; one command for those of one mode."""
    for mode, alike in groupby(folders, key=lambda folder: folder[1]):
        masked = ~mode & 0o777
        umask = f"u=$(umask); umask $(printf %03o $((0$u | 0{masked:o})));" if masked else ""
        for batch in batches([path for path, _ in alike], share):
            checked(ssh, batch[0], f"{umask} exec mkdir -p -- {words(batch)}")


def stat_many(ssh: SshTransport, dialect: str, paths: Sequence[str]) -> Iterator[FileInfo | None]:
    """What is at each path, in order, symlinks not followed."""
    for batch in batches(paths, share):
        output = checked(ssh, batch[0], listing.stat_many_script(batch, dialect))
        found = {info.path: info for info in listing.parse([output])}
        yield from map(found.get, batch)
