"""Many small files by one command: a tar archive that the far side's ``tar`` unpacks as it comes.

By the SCP protocol each file would have to be awaited before the next: ``scp`` takes the content of a file that it has
refused for commands. In an archive each content is behind its size, and one that cannot be written is passed over.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence

from wlmctl.errors import Broken, NotFound, TransportError
from wlmctl.ssh.quoting import quote, words
from wlmctl.ssh.shell_files import error_for
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import Completed, FileInfo
from wlmctl_transport_scp.batching import batches, share
from wlmctl_transport_scp.stream import Stream

#: Content of one command; of one send, so that the packets are full.
_BATCH_BYTES, _SEND_BYTES = 8 << 20, 128 << 10
#: A header as POSIX has it: name, mode, owner 0 and 0, size, time; the sum of all bytes; the type of a file, the rest.
_NAME_BYTES, _LATEST_S = 100, 8**11 - 1
_HEAD = b"%b%07o\0" + 2 * b"0000000\0" + b"%011o\0%011o\0"
_TAIL = (b"0" + bytes(100) + b"ustar\00000").ljust(356, b"\0")
#: In the sum its own field counts as eight spaces.
_TAIL_SUM = sum(_TAIL) + sum(b" " * 8)
#: Among what tar prints, warnings and its last words included, the line that says why it failed: which name, and why.
_REASON = re.compile(r"^(?:tar: )?(.*?)(?:: )?can(?:no|')t [^:]*: (.*)$", re.IGNORECASE | re.MULTILINE)


def write_many(ssh: SshTransport, tar: str, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
    """Write each file by the far side's ``tar``, which is of the kind that ``Survey.tar`` tells."""
    for batch in batches(files, lambda file: len(file[1]) / _BATCH_BYTES + share(_folder(file[0]))):
        _unpack(ssh, tar, batch)


def _unpack(ssh: SshTransport, tar: str, files: Sequence[tuple[str, bytes, FileInfo]]) -> None:
    """Write each file; one that cannot be written keeps none of the others back."""
    folders = sorted({_folder(path) for path, _, _ in files})
    base = posixpath.commonpath(folders).rstrip("/") + "/"
    if not all(f"{folder}/".startswith(base) for folder in folders):
        base = "/"
    missing = None
    with Stream(ssh, _script(tar, base, folders), files[0][0]) as stream:
        absent = {folders[int(number)] for number in stream.line().split()}
        if absent:
            path = next(path for path, _, _ in files if _folder(path) in absent)
            missing = NotFound(f"{path}: there is no such folder")
            files = [file for file in files if _folder(file[0]) not in absent]
            if not files:
                raise missing
        for parts in _archive(base, files):
            stream.send(*parts)
        done = stream.finish()
    if done.exit_code != 0:
        raise _fault(base, [path for path, _, _ in files], done)
    if missing:
        raise missing


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"  # posixpath's takes five times as long


def _script(tar: str, base: str, folders: Sequence[str]) -> str:
    """Says on a line which ``folders`` are missing, since tar would make them, and unpacks what comes in ``base``."""
    # BSD's tar goes through a folder that is a symlink only with -P, which not every other tar knows.
    return (
        f'i=0; absent=; for d in {words(folders)}; do [ -d "$d" ] || absent="$absent $i"; i=$((i+1)); done\n'
        f'echo "$absent"; cd -- {quote(base)} || exit 1\n'
        f"TAR_OPTIONS=; export TAR_OPTIONS; exec tar {'-xpoPf' if tar == 'bsd' else '-xpof'} -"
    )


def _archive(base: str, files: Sequence[tuple[str, bytes, FileInfo]]) -> Iterator[list[bytes]]:
    """An archive of ``files`` with their names below ``base``, in parts that fill the packets."""
    parts, size_bytes = list[bytes](), 0
    for path, content, info in files:
        if len(content) != info.size_bytes:
            raise Broken(f"{path}: {len(content)} bytes, {info.size_bytes} were announced")
        parts += (_header(path[len(base) :], info), content, bytes(-len(content) % tarfile.BLOCKSIZE))
        size_bytes += len(content)
        if size_bytes >= _SEND_BYTES:
            yield parts
            parts, size_bytes = [], 0
    yield [*parts, bytes(2 * tarfile.BLOCKSIZE)]


def _header(name: str, info: FileInfo) -> bytes:
    """What stands before a file's content; ``tarfile`` makes it as well, in eight times the time."""
    encoded, mode, mtime_s = name.encode("utf-8", "surrogateescape"), info.mode & 0o7777, max(int(info.mtime_s), 0)
    if len(encoded) > _NAME_BYTES or mtime_s > _LATEST_S:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = info.size_bytes, mode, mtime_s
        return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    head = _HEAD % (encoded.ljust(_NAME_BYTES, b"\0"), mode, info.size_bytes, mtime_s)
    return b"%b%06o\0 %b" % (head, sum(head) + _TAIL_SUM, _TAIL)


def _fault(base: str, paths: Sequence[str], done: Completed) -> TransportError:
    text, folder = done.stderr.decode("utf-8", "replace").strip(), base.rstrip("/") or "/"
    found = _REASON.search(text)
    if found is None:
        return error_for(folder, (text or f"exit code {done.exit_code}").splitlines()[-1])
    return error_for(next((path for path in paths if path[len(base) :] == found[1]), folder), found[2])
