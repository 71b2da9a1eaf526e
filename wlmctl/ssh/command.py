"""One command over an SSH connection: started, fed, drained and awaited without a deadlock or a hang."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator

import paramiko

from wlmctl.errors import Broken, TurnedAway
from wlmctl.ssh.flow import Pieces, divert, request, undivert
from wlmctl.ssh.quoting import for_login_shell
from wlmctl.ssh.shell import what_it_says
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import Completed

_PIECE_BYTES = 32 * 1024
#: How long output may stay silent after the exit code while something the command left behind holds it open.
_LINGER_S = 2.0


def open_channel(ssh: SshTransport) -> paramiko.Channel:
    """A new session channel; ``Broken`` where the connection is gone or the host refuses it."""
    try:
        channel = ssh.channel()
    except paramiko.ChannelException as error:
        text = f"machine {ssh.login.machine}: the host allows no more sessions at a time (MaxSessions of its sshd)"
        raise Broken(text) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Broken(f"machine {ssh.login.machine}: no channel: {str(error) or 'connection lost'}") from error
    channel.settimeout(ssh.timeout_s)
    divert(channel, Pieces())
    return channel


def close_channel(channel: paramiko.Channel) -> None:
    """End a channel, on a connection that may be lost already."""
    undivert(channel)
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        channel.close()


def end_input(ssh: SshTransport, channel: paramiko.Channel) -> None:
    """Say that a command gets no more input; nothing where its channel has ended, or that was said before."""
    with contextlib.suppress(EOFError), ssh.ends.sending(channel):
        channel.shutdown_write()


def start(ssh: SshTransport, script: str) -> tuple[paramiko.Channel, bytes]:
    """Start ``script`` by ``sh``; returns its channel and the mark that its output begins with.

    The mark, also on stderr, parts the script's output from what the login shell's start-up files may print.
    """
    mark = f"wlm-{secrets.token_hex(8)}:"
    channel = open_channel(ssh)
    try:
        request(channel, "exec", for_login_shell(f"printf %s {mark}; printf %s {mark} >&2\n{script}").encode("ascii"))
    except (paramiko.SSHException, OSError, EOFError) as error:
        close_channel(channel)
        raise Broken(f"machine {ssh.login.machine}: no command can be run: {error or 'connection lost'}") from error
    return channel, mark.encode("ascii")


def run(
    ssh: SshTransport,
    script: str,
    stdin: bytes = b"",
    timeout_s: float | None = None,
    heard: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run ``script`` by ``sh`` and wait for its end; ``Broken`` after ``timeout_s`` or a lost connection.

    ``heard`` is called with its stdout so far, the mark and what came before it included, whenever more has come.

    A command may be silent for as long as it likes, its host may not. ``TurnedAway`` where something else than ``sh``
    has answered.
    """
    channel, mark = start(ssh, script)
    try:
        stdout, stderr = _drain(channel, ssh, stdin, timeout_s, heard)
        code = channel.exit_status
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Broken(f"machine {ssh.login.machine}: the connection broke during a command: {error}") from error
    finally:
        close_channel(channel)
    if code < 0:
        raise Broken(f"machine {ssh.login.machine}: the connection was lost during a command")
    if mark not in stdout and mark not in stderr:
        raise TurnedAway(ssh.login.machine, what_it_says(stderr + b"\n" + stdout))
    return Completed(code, _after(stdout, mark), _after(stderr, mark))


def _drain(
    channel: paramiko.Channel,
    ssh: SshTransport,
    stdin: bytes,
    timeout_s: float | None,
    heard: Callable[[bytes], None] | None,
) -> tuple[bytes, bytes]:
    out, err, pending = bytearray(), bytearray(), memoryview(stdin)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    last_data = last_sign = time.monotonic()
    ready = _output(channel)
    open_stdin = True
    for _ in _waits(ready, channel):
        moved = _take(channel, out, err)
        if open_stdin and not pending:
            end_input(ssh, channel)
            open_stdin = False
        while open_stdin and pending and channel.send_ready() and not channel.recv_ready():
            try:
                with ssh.ends.sending(channel):
                    pending = pending[channel.send(bytes(pending[:_PIECE_BYTES])) :]
            except (OSError, EOFError):  # the command has closed its input: it does not want the rest
                open_stdin = False
            moved = True
        now = time.monotonic()
        if moved:
            last_data = last_sign = now
            if heard is not None:
                heard(bytes(out))
            continue
        if channel.exit_status_ready() and (channel.eof_received or channel.closed or now > last_data + _LINGER_S):
            _take(channel, out, err)  # the last output may have come together with the end, after the look above
            return bytes(out), bytes(err)
        if deadline is not None and now > deadline:
            raise Broken(f"machine {ssh.login.machine}: a command did not end within {timeout_s:g} s")
        if now > last_sign + ssh.timeout_s:
            _check_alive(ssh)
            last_sign = time.monotonic()
    raise AssertionError("unreachable")


def _check_alive(ssh: SshTransport) -> None:
    """``Broken`` when the host does not even answer the wish for one more channel; a refusal is an answer, too."""
    try:
        close_channel(ssh.open_session(timeout=ssh.timeout_s))
    except paramiko.ChannelException:
        return
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Broken(f"machine {ssh.login.machine}: silent for {2 * ssh.timeout_s:g} s") from error


def _take(channel: paramiko.Channel, out: bytearray, err: bytearray) -> bool:
    """Take what has arrived; True when there was something."""
    before = len(out) + len(err)
    while channel.recv_ready():
        out += channel.recv(1 << 20)
    while channel.recv_stderr_ready():
        err += channel.recv_stderr(1 << 20)
    return len(out) + len(err) > before


def _output(channel: paramiko.Channel) -> threading.Event:
    """Set when output arrives, and at its end.

    Not by ``channel.fileno()``: the pipe that paramiko makes for it is closed while its other thread may write into it,
    and by then another connection may have its number.
    """
    ready = threading.Event()
    for buffer in (channel.in_buffer, channel.in_stderr_buffer):
        buffer.set_event(ready)
    return ready


def _waits(ready: threading.Event, channel: paramiko.Channel) -> Iterator[None]:
    """A look at once, then one whenever there is output, and after at most 50 ms."""
    while True:
        yield
        if channel.recv_ready() or channel.recv_stderr_ready():
            continue
        if channel.eof_received or channel.closed:
            channel.status_event.wait(0.05)  # output has ended, and its file descriptor is ready for ever
        else:
            ready.wait(0.05)


def _after(output: bytes, mark: bytes) -> bytes:
    _, found, rest = output.partition(mark)
    return rest if found else output
