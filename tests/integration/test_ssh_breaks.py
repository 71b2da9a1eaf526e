"""What a transport over SSH makes of faults: killed and hanging connections, odd files, servers that lack something."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_EOF
from wlmctl_transport_scp import open_scp
from wlmctl_transport_sftp import open_sftp

from tests.services.ssh_site import Site, says_hello, site
from tests.waiting import wait_until
from wlmctl.connections import ConnectionPool, open_transport
from wlmctl.errors import Broken, ConfigError, Unreachable
from wlmctl.machine import Machine
from wlmctl.ssh.command import run
from wlmctl.ssh.connection import connect
from wlmctl.testing.transport import info_of
from wlmctl.transport import CHUNK_BYTES, Transport

__all__ = ["site"]

OPENERS = pytest.mark.parametrize("opener", [open_sftp, open_scp], ids=["sftp", "scp"])


@OPENERS
def test_a_connection_killed_while_it_writes_is_broken_at_once(site: Site, opener: object, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for number in itertools.count():
            if number == 40:
                site.sshd.kill_sessions()
            yield bytes(CHUNK_BYTES)

    started = time.monotonic()
    with opener(site.machine, {}) as transport, pytest.raises(Broken):  # type: ignore[operator]
        transport.write(str(tmp_path / "f"), chunks(), replace(info_of(b""), size_bytes=1 << 40))
    assert time.monotonic() - started < 20


@OPENERS
def test_a_connection_killed_while_it_reads_is_broken_at_once(site: Site, opener: object, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    started = time.monotonic()
    with opener(site.machine, {}) as transport:  # type: ignore[operator]
        reading = transport.read(str(big))
        next(reading)
        site.sshd.kill_sessions()
        with pytest.raises(Broken):
            for _ in reading:
                pass
        wait_until(lambda: not transport.alive(), "the connection counts as lost")
    assert time.monotonic() - started < 20


def test_a_host_that_hangs_under_a_silent_command_is_told_and_a_silent_command_alone_is_not(
    site: Site, tmp_path: Path
) -> None:
    with connect(site.machine) as ssh:
        ssh.timeout_s = 2
        assert run(ssh, "sleep 3; echo awake").stdout == b"awake\n"
        paused_s = list[float]()

        def pause() -> None:
            wait_until((tmp_path / "begun").exists, "the command runs")
            ssh.timeout_s = 0.5
            paused_s.append(time.monotonic())
            site.sshd.pause()

        pausing = threading.Thread(target=pause)
        pausing.start()
        try:
            with pytest.raises(Broken, match=r"machine nas: silent for 1 s"):
                run(ssh, f"touch '{tmp_path}/begun'; sleep 60")
            assert time.monotonic() - paused_s[0] < 20
        finally:
            pausing.join()
            site.sshd.resume()


@OPENERS
def test_a_host_that_hangs_is_broken_after_the_timeout(site: Site, opener: object, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    with opener(site.machine, {"timeout_s": 3}) as transport:  # type: ignore[operator]
        reading = transport.read(str(big))
        next(reading)
        site.sshd.pause()
        started = time.monotonic()
        try:
            with pytest.raises(Broken):
                for _ in reading:
                    pass
        finally:
            site.sshd.resume()
        assert time.monotonic() - started < 20


def test_a_command_whose_connection_is_killed_is_broken_at_once(site: Site) -> None:
    with connect(site.machine) as ssh:
        pid = int(run(ssh, "sleep 60 >/dev/null 2>&1 & echo $!").stdout)
        started = time.monotonic()
        killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {' '.join(map(str, site.sshd.sessions()))}"])
        with pytest.raises(Broken):
            run(ssh, "sleep 60")
        killer.wait()
        os.kill(pid, signal.SIGKILL)
        assert time.monotonic() - started < 20


def test_a_file_that_shrinks_or_grows_while_it_is_sent_is_broken(site: Site, tmp_path: Path) -> None:
    for opener in (open_sftp, open_scp):
        source = tmp_path / "source"
        source.write_bytes(bytes(4 * CHUNK_BYTES))
        with opener(site.machine, {}) as transport:
            info = replace(info_of(b""), size_bytes=5 * CHUNK_BYTES)
            with pytest.raises(Broken):
                transport.write(str(tmp_path / "target"), transport.read(str(source)), info)
            with pytest.raises(Broken):
                transport.write(str(tmp_path / "target"), transport.read(str(source)), replace(info, size_bytes=7))


@OPENERS
def test_a_fifo_is_refused_and_hangs_nothing(site: Site, opener: object, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with opener(site.machine, {"timeout_s": 30}) as transport:  # type: ignore[operator]
        seen = transport.stat(str(tmp_path / "fifo"))
        assert seen.kind == "other"
        for offset in (0, 3):
            with pytest.raises(Exception, match="regular file"):
                list(transport.read(str(tmp_path / "fifo"), offset))


@OPENERS
def test_a_sparse_file_above_four_gib_has_its_size_and_its_end(site: Site, opener: object, tmp_path: Path) -> None:
    size, tail = 5 * (1 << 30), b"the end"
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(size - len(tail))
        file.write(tail)
    with opener(site.machine, {}) as transport:  # type: ignore[operator]
        seen = transport.stat(str(tmp_path / "sparse"))
        assert seen.size_bytes == size
        assert b"".join(transport.read(str(tmp_path / "sparse"), size - 1000))[-7:] == tail


def test_reading_asks_ahead_only_within_bounds(site: Site, tmp_path: Path) -> None:
    import tracemalloc

    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 28)
    with open_sftp(site.machine, {}) as transport:
        reading = transport.read(str(big))
        tracemalloc.start()
        for _ in range(3):
            next(reading)
        wait_until(lambda: True, "the reader stands still")
        time.sleep(0.5)  # all that would come unasked has come by now
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 16 << 20


def test_a_command_that_ends_while_it_is_told_that_no_more_input_comes_costs_no_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(site.machine) as ssh:
        send, heard = ssh._send_user_message, threading.Event()
        hear = ssh._channel_handler_table[MSG_CHANNEL_CLOSE]  # type: ignore[attr-defined]

        def hear_end(channel: paramiko.Channel, message: paramiko.Message) -> None:
            hear(channel, message)
            heard.set()

        def send_late(message: paramiko.Message) -> None:
            if message.asbytes()[0] == MSG_CHANNEL_EOF and threading.current_thread() is threading.main_thread():
                assert heard.wait(30), "the command's end has come first"
            send(message)

        table = {**ssh._channel_handler_table, MSG_CHANNEL_CLOSE: hear_end}  # type: ignore[attr-defined]
        monkeypatch.setattr(ssh, "_channel_handler_table", table)
        monkeypatch.setattr(ssh, "_send_user_message", send_late)
        assert run(ssh, "echo first").stdout == b"first\n"
        assert run(ssh, "echo second").stdout == b"second\n"


def test_a_pool_survives_a_restarted_server(site: Site) -> None:
    pool = ConnectionPool(open_transport)
    try:
        with pool.lease(site.machine) as first:
            first.stat("/")
        site.sshd.stop()
        wait_until(lambda: not alive(first), "the lost connection is noticed")
        with pytest.raises(Unreachable), pool.lease(site.machine):
            pass
        site.sshd.start()
        with pool.lease(site.machine) as second:
            assert second is not first
            assert second.stat("/") is not None
    finally:
        pool.close_all()


def alive(transport: Transport) -> bool:
    return bool(getattr(transport, "alive")())  # noqa: B009  an optional method


def test_many_connections_at_once_are_all_made_though_the_server_drops_some(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    site.farm.add("strict", options=["MaxStartups 3:30:10"])
    site.farm.write_inventory(tmp_path / "inventory")
    machine = Machine("strict", host="strict")
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: says_hello(machine), range(8)))


def test_a_connection_that_is_dropped_before_it_is_seen_is_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, dropped = socket.create_connection, list[object]()

    def drop_once(*arguments: Any, **options: Any) -> socket.socket:
        if not dropped:
            dropped.append(arguments)
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return make(*arguments, **options)

    monkeypatch.setattr(socket, "create_connection", drop_once)
    assert says_hello(site.machine)
    assert dropped


def test_a_server_without_sftp_or_shell_says_what_to_set(site: Site, tmp_path: Path) -> None:
    site.farm.add("nosftp", no_sftp=True)
    site.farm.add("filesonly", sftp_only=True)
    site.farm.write_inventory(tmp_path / "inventory")
    with pytest.raises(Unreachable, match='transport = "scp"'):
        open_sftp(Machine("nosftp", host="nosftp"), {})
    with pytest.raises(Unreachable, match='transport = "sftp"'):
        open_scp(Machine("filesonly", host="filesonly"), {})
    with pytest.raises(ConfigError, match="timeout_s"):
        open_sftp(Machine("nas", host="nas"), {"timeout": 3})
