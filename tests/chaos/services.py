"""What one round has of the site: a vhost, a store, an inventory; and what happens to them."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

from tests.chaos import faults
from tests.chaos.experiments import EITHER
from tests.chaos.faults import Fault
from tests.chaos.fleet import Fleet
from tests.chaos.site import ACK_TIMEOUT_S, Site
from tests.services.processes import descendants, send
from tests.services.relay import Relay

SLOTS = 4


class Ways(TypedDict):
    """How a process reaches its services: its environment, and the relays that this leads to."""

    env: dict[str, str]
    ways: dict[str, Relay]


class Services:
    """The services of one round; ``happen`` plays a fault to its end, one at a time for each target."""

    def __init__(self, site: Site, folder: Path, store: str, *, is_quorum: bool, scheduler: str) -> None:
        self.site, self.folder, self.store_kind = site, folder, store
        self.vhost = site.new_vhost(f"c{uuid.uuid4().hex[:10]}") if site.rabbit else None
        self.store_url = site.new_database() if store == "postgresql" else f"sqlite:///{folder}/wlmctl.db"
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._is_quorum, self._scheduler = is_quorum, scheduler
        self._write_inventory()

    def _write_inventory(self) -> None:
        extra = {
            name: f'scratch = "{self.site.farm[name].home}/{self.folder.name}"\ncpus = 8\nmax_connections = 6\n'
            f'labels = ["{EITHER}"]'
            for name in self.site.farm.machines
        }
        transports = {"beta": "scp"} if len(self.folder.name) % 2 else {}
        inventory = self.site.farm.write_inventory(self.folder, extra=extra, transports=transports)
        self.env = {**inventory.env, "WLMCTL_STORE": self.store_url}
        text = inventory.config.read_text().partition("\n")[2]
        top = [f'scheduler = "{self._scheduler}"']
        if self.vhost:
            kind = "quorum" if self._is_quorum else "classic"
            top += [f'queue_type = "{kind}"', f'ack_timeout = "{ACK_TIMEOUT_S}s"', 'lease = "10s"']
        local = f'\n[machines.local]\nscratch = "{self.folder}/scratch"\ncpus = 8\nshell = "sh"\n'
        inventory.config.write_text("\n".join(top) + "\n" + text + local)

    def fleet(self, workers: int, orchestrators: int) -> Fleet:
        """The processes of the round: a fleet, or one orchestrator with slots of its own where there is no broker."""
        fleet = Fleet(self.folder, uuid.uuid4().hex, self.env)
        if self.vhost is None:
            fleet.add("orchestrator-0", "orchestrator", "--slots", "8", **self._ways(is_worker=False))
            return fleet
        for number in range(orchestrators):
            fleet.add(f"orchestrator-{number}", "orchestrator", **self._ways(is_worker=False))
        for number in range(workers):
            name = f"worker-{number}"
            command = ("worker", "--slots", str(SLOTS), "--name", name)
            fleet.add(name, *command, **self._ways(is_worker=True))
        return fleet

    def _ways(self, *, is_worker: bool) -> Ways:
        env, ways = dict[str, str](), dict[str, Relay]()
        if self.vhost is not None:
            ways["broker"], env["WLMCTL_BROKER"] = _through_relay(self.vhost.url)
        if is_worker:
            env["WLMCTL_STORE"] = f"sqlite:///{self.folder}/no-worker-opens-this.db"
        elif self.store_kind == "postgresql":
            ways["store"], env["WLMCTL_STORE"] = _through_relay(self.store_url)
        return {"env": env, "ways": ways}

    def happen(self, fault: Fault, fleet: Fleet) -> None:
        """The fault, to its end: when this returns it is mended. What is busy with another one is hit after that."""
        if fault.kind in ("worker", "orchestrator"):
            members = fleet.named(fault.kind)
            if members:
                member = members[fault.target % len(members)]
                with self._locks[member.name]:
                    faults.happen_to_member(fault, member)
            return
        with self._locks[fault.kind]:
            match fault.kind:
                case "broker":
                    self._happen_to_broker(fault)
                case "store" if self.store_kind == "postgresql":
                    self._happen_to_postgres(fault, [member.ways["store"] for member in fleet.named("orchestrator")])
                case "store":
                    self._lock_sqlite(fault.for_s)
                case "sshd":
                    self._happen_to_sshd(fault)

    def _happen_to_broker(self, fault: Fault) -> None:
        rabbit = self.site.rabbit
        if rabbit is None or self.vhost is None:
            return
        if fault.way == "stop":
            rabbit.pause()
            time.sleep(fault.for_s)
            rabbit.resume()
            return
        rabbit.kill()
        if fault.way == "wipe":
            rabbit.wipe()
        time.sleep(fault.for_s)
        rabbit.start()
        if fault.way == "wipe":
            self.site.new_vhost(self.vhost.name)  # as whoever keeps the broker would

    def _happen_to_postgres(self, fault: Fault, ways: Sequence[Relay]) -> None:
        server = self.site.postgres
        assert server is not None
        if fault.way == "cut":
            faults.cut(ways, fault.for_s)
        elif fault.way == "kill":
            server.stop(signal.SIGKILL)
            time.sleep(fault.for_s)
            server.start()
        else:
            doomed = [server.pid, *descendants(server.pid)]
            send(doomed, signal.SIGSTOP)
            time.sleep(fault.for_s)
            send(doomed, signal.SIGCONT)

    def _lock_sqlite(self, for_s: float) -> None:
        """Somebody else's program holds the write lock."""
        path = self.store_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other, suppress(sqlite3.Error):
            other.execute("BEGIN IMMEDIATE")
            time.sleep(for_s)
            other.execute("ROLLBACK")

    def _happen_to_sshd(self, fault: Fault) -> None:
        names = sorted(self.site.farm.machines)
        machine = self.site.farm[names[fault.target % len(names)]]
        match fault.way:
            case "kill":
                machine.stop()
                time.sleep(fault.for_s)
                machine.start()
            case "stop":
                machine.pause()
                time.sleep(fault.for_s)
                machine.resume()
            case "break":
                machine.kill_sessions()

    def close(self) -> None:
        """What the site keeps no longer."""
        if self.site.rabbit is not None and self.vhost is not None:
            with suppress(OSError):
                self.site.rabbit.remove_vhost(self.vhost.name)


def _through_relay(url: str) -> tuple[Relay, str]:
    """A way of its own to the service that the URL names, and the URL that takes it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    relay = Relay(parts.hostname, parts.port)
    login = parts.netloc.rpartition("@")[0]
    return relay, parts._replace(netloc=f"{login}@{relay.address}:{relay.port}").geturl()
