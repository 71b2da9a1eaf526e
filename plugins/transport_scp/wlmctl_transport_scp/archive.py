"""Many small files by one command: a tar archive that the far side's ``tar`` unpacks as it comes.

By the SCP protocol each file would have to be awaited before the next: ``scp`` takes the content of a file that it has
refused for commands. In an archive each content is behind its size, and one that cannot be written is passed over.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterable, Sequence

from wlmctl.errors import Broken, NotFound, TransportError
from wlmctl.ssh.quoting import quote, words
from wlmctl.ssh.shell_files import error_for
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import Completed, FileInfo
from wlmctl_transport_scp import protocol
from wlmctl_transport_scp.batching import batches, share
from wlmctl_transport_scp.stream import Stream

#: Content of one command.
_BATCH_BYTES = 8 << 20

_END = bytes(2 * tarfile.BLOCKSIZE)
#: What the far side says first: that it unpacks what comes.
_READY = b"tar"
#: Among what tar prints, warnings and its last words included, the line that says why it failed.
_REASON = re.compile(r"can(no|')t\b", re.IGNORECASE)


def write_many(ssh: SshTransport, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
    """Write each file; by the SCP protocol where the far side has no tar."""
    for batch in batches(files, lambda file: len(file[1]) / _BATCH_BYTES + share(posixpath.dirname(file[0]))):
        if not _unpack(ssh, batch):
            protocol.write_many(ssh, batch)


def _unpack(ssh: SshTransport, files: Sequence[tuple[str, bytes, FileInfo]]) -> bool:
    """Write each file; False, with nothing done, where there is no tar. One that cannot be written keeps none back."""
    folders = sorted({posixpath.dirname(path) for path, _, _ in files})
    base = posixpath.commonpath(folders)
    sent = list[str]()
    missing = None
    with Stream(ssh, _script(base, folders), files[0][0]) as stream:
        word, *numbers = stream.line().split()
        if word != _READY:
            return False
        absent = {folders[int(number)] for number in numbers}
        for path, content, info in files:
            if len(content) != info.size_bytes:
                raise Broken(f"{path}: {len(content)} bytes, {info.size_bytes} were announced")
            if posixpath.dirname(path) in absent:
                missing = missing or NotFound(f"{path}: there is no such folder")
                continue
            sent.append(posixpath.relpath(path, base))
            stream.send(b"".join((_header(sent[-1], info), content, bytes(-len(content) % tarfile.BLOCKSIZE))))
        stream.send(_END)
        done = stream.finish()
    if done.exit_code != 0:
        raise _fault(base, sent, done)
    if missing:
        raise missing
    return True


def _script(base: str, folders: Sequence[str]) -> str:
    # tar would make a folder that is missing. -P lets BSD's tar go through a folder that is a symlink.
    return (
        "command -v tar >/dev/null 2>&1 || { echo none; exit; }\n"
        f'i=0; absent=; for d in {words(folders)}; do [ -d "$d" ] || absent="$absent $i"; i=$((i+1)); done\n'
        f"cd -- {quote(base)} 2>/dev/null\n"
        'case "$(tar --version 2>/dev/null)" in *bsdtar*) through=P ;; *) through= ;; esac\n'
        f'TAR_OPTIONS=; export TAR_OPTIONS; echo "{_READY.decode()}$absent"; exec tar "-xpo${{through}}f" -'
    )


def _header(name: str, info: FileInfo) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = info.size_bytes, info.mode & 0o7777, max(int(info.mtime_s), 0)
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _fault(base: str, names: Sequence[str], done: Completed) -> TransportError:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.exit_code}"]
    reason = next((line for line in lines if _REASON.search(line)), lines[-1]).removeprefix("tar: ")
    named = next((name for name in names if reason.startswith(f"{name}:")), "")
    return error_for(posixpath.join(base, named), reason)
