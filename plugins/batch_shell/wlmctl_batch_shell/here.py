"""Jobs of this very host: started by one spawn, and looked at through their files, without a command."""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Mapping
from contextlib import suppress

from wlmctl.batch import TAIL_BYTES, BatchJob, HostProcess, JobRef
from wlmctl.errors import TaskFailed
from wlmctl.jobs.exit_file import ExitFile, ended
from wlmctl.jobs.sections import Section
from wlmctl.jobs.texts import wrapper
from wlmctl.task import PollAnswer, Running
from wlmctl.transport import Spawns

#: Linux takes 128 KiB as one argument; a longer script goes through a file, which costs one more.
ARGUMENT_BYTES = 100 * 1024
#: How long an earlier start of the same job is given to take its fence before another one competes for it.
EARLIER_START_S = 0.2
#: New bytes of one log in one answer, at most.
FOLLOW_BYTES = 256 * 1024
#: Descriptors opened at most to wait for a first end; further jobs are seen at the next look.
_WATCHED = 200


def start(job: BatchJob, transport: Spawns, shell: str, script: str, walltime: str, grace_s: int) -> HostProcess | None:
    """Start the wrapper, unless there is a trace of an earlier start; the process that has the job, if known."""
    is_first = _make_folders(job)
    if not is_first:
        # the folder is there: an earlier start has taken the fence, or is about to, or never came so far
        deadline = time.monotonic() + EARLIER_START_S
        while not (has_started := os.path.lexists(f"{job.folder}/fence") or _exit_file(job.folder) is not None):
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
        if has_started:
            return _owner(job.folder)
    nonce = secrets.token_hex(8)
    data = script.encode("utf-8", "surrogateescape")
    file = ""
    if len(data) > ARGUMENT_BYTES:
        file, script = f"script.{nonce}", ""
        _write(f"{job.folder}/{file}", data)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WLMCTL_")}
    environment["WLMCTL_TOKEN"] = job.token
    values = [nonce, shell, script, file, _kills(), walltime, str(grace_s)]
    argv = ["sh", "-c", wrapper(bool(walltime)), "wlmctl-job", *values]
    pid = transport.spawn(argv, environment, job.folder, os.devnull, os.devnull)
    # where another start may be on its way, ours may lose the fence, and its end would say nothing
    return (HostProcess.of(pid) or _owner(job.folder)) if is_first else None


def look(jobs: Mapping[str, JobRef], wait_s: float, offsets: Mapping[str, tuple[int, int]]) -> dict[str, PollAnswer]:
    """The answers that the files give; a job that is missing here needs the whole look by command."""
    found = _look(jobs, offsets)
    is_quiet = all(isinstance(answer, Running) and not (answer.stdout or answer.stderr) for answer in found.values())
    if wait_s > 0 and is_quiet and len(found) == len(jobs) and jobs:
        _wait_for_one([_process(ref) for ref in jobs.values()], wait_s if not offsets else min(wait_s, 0.1))
        found = _look(jobs, offsets)
    return found


def _look(jobs: Mapping[str, JobRef], offsets: Mapping[str, tuple[int, int]]) -> dict[str, PollAnswer]:
    found = {}
    for key, ref in jobs.items():
        answer = _look_at(ref, offsets.get(key))
        if answer is not None:
            found[key] = answer
    return found


def _look_at(ref: JobRef, offset: tuple[int, int] | None) -> PollAnswer | None:
    folder = ref["folder"]
    exit_file = _exit_file(folder)
    if exit_file is None:
        process = _process(ref)
        if process is not None and process.is_alive():
            if os.path.lexists(f"{folder}/cancel"):
                return None
            if offset is None:
                return Running()
            return Running(
                stdout=_bytes_from(f"{folder}/stdout", offset[0]), stderr=_bytes_from(f"{folder}/stderr", offset[1])
            )
        exit_file = _exit_file(folder)  # it may have been written between the two looks
    if exit_file is None or (not exit_file.is_by_itself and os.path.lexists(f"{folder}/cancel")):
        return None
    return ended(exit_file, ref, Section(stdout=_tail(f"{folder}/stdout"), stderr=_tail(f"{folder}/stderr")))


def _process(ref: JobRef) -> HostProcess | None:
    return HostProcess.from_json(ref.get("process")) or _owner(ref["folder"])


def _wait_for_one(processes: list[HostProcess | None], wait_s: float) -> None:
    """Wait until one of the processes ends, at most ``wait_s``."""
    poll = select.poll()
    descriptors = []
    try:
        for process in processes[:_WATCHED]:
            descriptor = process.open_end() if process else None
            if descriptor is None:
                return
            descriptors.append(descriptor)
            poll.register(descriptor, select.POLLIN)
        poll.poll(wait_s * 1000)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _make_folders(job: BatchJob) -> bool:
    """Make the job's two folders; True when the private one was not there before."""
    try:
        if not os.path.isdir(job.directory):
            os.makedirs(job.directory, exist_ok=True)
    except OSError as error:
        raise TaskFailed(f"directory cannot be made: {error.filename}: {error.strerror}") from error
    try:
        try:
            os.mkdir(job.folder, 0o700)
        except FileNotFoundError:
            _make_parents(job.folder)
            os.mkdir(job.folder, 0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise TaskFailed(f"the folder of the job cannot be made: {error.filename}: {error.strerror}") from error
    return True


def _make_parents(path: str) -> None:
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make_parents(parent)
        with suppress(FileExistsError):
            os.mkdir(parent, 0o700)


def _owner(folder: str) -> HostProcess | None:
    """The process that holds the start fence, when that is one of this boot of this host."""
    try:
        line = _read(f"{folder}/fence", 512)
    except IsADirectoryError:  # where there are no hard links
        with suppress(OSError):
            line = _read(f"{folder}/fence/owner", 512)
            return _parse_owner(line)
        return None
    except OSError:
        return None
    return _parse_owner(line)


def _parse_owner(line: bytes) -> HostProcess | None:
    match line.decode("utf-8", "replace").split():
        case [_, boot, pid, start_ticks, _] if pid.isdecimal() and start_ticks.isdecimal():
            return HostProcess(boot, int(pid), int(start_ticks))
    return None


def _exit_file(folder: str) -> ExitFile | None:
    try:
        return ExitFile.parse(_read(f"{folder}/exit", 512))
    except OSError:
        return None


def _kills() -> str:
    """How many processes the kernel has killed for want of memory so far; empty where it does not say."""
    with suppress(OSError):
        _, found, rest = _read("/proc/vmstat", 1 << 16).partition(b"\noom_kill ")
        return rest.split(b"\n", 1)[0].decode() if found else ""
    return ""


def _read(path: str, limit_bytes: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, limit_bytes)
    finally:
        os.close(descriptor)


def _tail(path: str) -> bytes:
    return _bytes_from(path, -TAIL_BYTES)


def _bytes_from(path: str, offset: int) -> bytes:
    """The file's bytes from ``offset``, a negative one counted from its end; nothing where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        size_bytes = os.fstat(descriptor).st_size
        if offset < 0:
            offset = max(0, size_bytes + offset)
        return os.pread(descriptor, min(FOLLOW_BYTES, size_bytes - offset), offset) if size_bytes > offset else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "xb") as file:
            file.write(data)
    except OSError as error:
        raise TaskFailed(f"the script cannot be written: {path}: {error.strerror}") from error
