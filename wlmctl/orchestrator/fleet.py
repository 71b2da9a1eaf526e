"""The machines as the orchestrator sees them: what they have, what is taken, which are held and probed.

A *place* is what work is placed on: a machine of the inventory, by its name, or somebody's ``local`` on a host other
than the orchestrator's own, as ``local@...``. Only here and in a scheduler's snapshot do such places have names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from wlmctl.host import host_id
from wlmctl.machine import LOCAL, Machine
from wlmctl.message import ProbeAnswerMessage
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.others import OfOthers
from wlmctl.orchestrator.taken import Taken
from wlmctl.scheduler import MachineView
from wlmctl.store import Database, machines
from wlmctl.store.machines import Hold
from wlmctl.task import Resources

#: Seconds until a held machine is probed again: the first, and the longest.
PROBE_FIRST_S, PROBE_LONGEST_S = 1.0, 60.0

#: The same where the login is refused: who fails often is locked out by many sites. A release probes at once.
REFUSED_FIRST_S, REFUSED_LONGEST_S = 60.0, 900.0

#: Seconds after which an unanswered probe is sent again.
PROBE_LOST_S = 120.0


class Fleet:
    """Inventory, reported capacities, holds. Capacity is counted by login, over all processes of the store."""

    def __init__(
        self, inventory: Mapping[str, Machine], logins: Mapping[str, str], own: tuple[str, str] | None = None
    ) -> None:
        """``own``: host and user whose ``local`` is the inventory's; None: every ``local`` is (there is one host)."""
        self._inventory = dict(inventory)
        self._logins = logins
        self._own = own
        self._locals: dict[tuple[str, str], str] = {}
        self._hosts: dict[str, str] = {}
        #: Probes that are not answered: when they were sent, and to whom.
        self._probing: dict[str, tuple[float, str]] = {}
        self._known: set[str] = set()
        self._backoff: dict[str, float] = {}
        #: The held machines with the reasons: those that do not answer and, never probed, those that users hold.
        self.held: dict[str, str] = {}
        self._away: dict[str, str] = {}
        self._by_users: dict[str, Hold] = {}
        self._probe_due: dict[str, float] = {}
        self._others = OfOthers(
            "exp, idx, attempt, site, cpus, memory_bytes, gpus, devices, "
            """CASE WHEN replace(handle, '"shares":', '') <> handle THEN handle END""",
            "site IS NOT NULL AND cpus > 0",
        )

    def machine(self, name: str) -> Machine:
        """The machine, with what it has reported filled in."""
        return self._inventory[name]

    def __contains__(self, name: object) -> bool:
        return name in self._inventory

    def names(self) -> list[str]:
        """All places, machines of the inventory in its order first."""
        return list(self._inventory)

    def inventory_names(self) -> list[str]:
        """All machines of the inventory, in its order."""
        return [name for name in self._inventory if name not in self._hosts]

    def local(self, host: str, user: str, host_name: str) -> str:
        """The place that ``local`` is for this login of this host."""
        if self._own is None or (host, user) == self._own:
            return LOCAL
        place = self._locals.get((host, user))
        if place is None:
            names = (f"{LOCAL}@{host_name}", f"{LOCAL}@{user}@{host_name}", f"{LOCAL}@{user}@{host}")
            place = next(name for name in names if name not in self._inventory)
            self._locals[host, user], self._hosts[place] = place, host
            self._inventory[place] = replace(self._inventory[LOCAL], cpus=None, memory_bytes=None, gpus=None)
        return place

    def site(self, place: str) -> str:
        """Under which name the place's capacity is counted: the login, so that two names share it."""
        if place == LOCAL or place in self._hosts:
            return f"{LOCAL}@{self._hosts.get(place) or host_id()}"
        return self._logins.get(place, place)

    def trust(self, host_keys: Mapping[str, tuple[str, ...]]) -> None:
        """Machines carry these host keys from now on."""
        for name, machine in self._inventory.items():
            keys = host_keys.get(machine.name, ())
            if machine.host_keys != keys:
                self._inventory[name] = replace(machine, host_keys=keys)

    def taken(
        self,
        db: Database,
        mine: Iterable[Active],
        my_experiments: Iterable[int],
        ended: Collection[tuple[int, int, int]] = (),
    ) -> dict[str, Taken]:
        """What is taken, by site: by the given tasks, and by those of other experiments that are not in ``ended``."""
        taken: dict[str, Taken] = {}
        for active in mine:
            if active.site is not None and active.resources is not None:
                shares = active.handle.get("shares") if active.handle is not None else None
                taken.setdefault(active.site, Taken()).add(
                    active.resources, active.devices, shares, 1 if active.handle is not None else active.pack
                )
        for *key, site, cpus, memory, gpus, devices, sharing in self._others.rows(db, my_experiments):
            if tuple(key) in ended:
                continue
            shares = json.loads(sharing).get("shares") if sharing else None
            taken.setdefault(site, Taken()).add(
                Resources(cpus, memory or 0, gpus or 0), json.loads(devices) if devices else (), shares
            )
        return taken

    def view(self, name: str, taken: Mapping[str, Taken]) -> MachineView:
        """The machine as a scheduler sees it."""
        machine, used = self._inventory[name], taken.get(self.site(name)) or Taken()

        def left(total: int | None, less: int) -> int | None:
            return None if total is None else total - less

        return MachineView(
            name,
            machine.labels,
            machine.cpus,
            machine.memory_bytes,
            machine.gpus,
            left(machine.cpus, used.cpus),
            left(machine.memory_bytes, used.memory_bytes),
            left(machine.gpus, len(used.devices)),
            machine.has_queue,
            left(machine.max_jobs, used.jobs),
            name in self.held,
        )

    def free_devices(self, name: str, count: int, taken: Mapping[str, Taken]) -> tuple[int, ...]:
        """The first ``count`` GPUs of the machine that nobody has; the queue of a batch system hands out its own."""
        if not count or self._inventory[name].has_queue:
            return ()
        used = taken[self.site(name)].devices if self.site(name) in taken else set()
        free = [device for device in range(self._inventory[name].gpus or 0) if device not in used]
        return tuple(free[:count])

    def is_known(self, name: str) -> bool:
        """True when the machine's capacity is known: by the inventory, or because it has reported."""
        machine = self._inventory[name]
        return name in self._known or None not in (machine.cpus, machine.memory_bytes, machine.gpus)

    def to_probe(self, wanted: Iterable[str], now: float, asked: Callable[[str], str | None]) -> list[tuple[str, str]]:
        """Places to probe now, each with whom ``asked`` names: wanted ones of unknown capacity, and held ones whose
        time has come."""
        due = [name for name, when in self._due() if when <= now]
        unknown = [name for name in wanted if name not in self.held and not self.is_known(name)]
        probes = list[tuple[str, str]]()
        for name in (*due, *unknown):
            if name in self._probing and now - self._probing[name][0] < PROBE_LOST_S:
                continue
            worker = asked(name)
            if worker is not None:
                self._probing[name] = now, worker
                self._probe_due.pop(name, None)
                probes.append((name, worker))
            elif name in self._probe_due:
                self._probe_due[name] = now + PROBE_FIRST_S
        return probes

    def lost(self, worker: str) -> None:
        """A worker is gone: what it was to probe is not probed."""
        for name in [name for name, (_, whom) in self._probing.items() if whom == worker]:
            self.not_probed(name)

    def is_probed_by(self, name: str, worker: str) -> bool:
        """True where this worker was asked, and has not answered yet."""
        return name in self._probing and self._probing[name][1] == worker

    def not_probed(self, name: str) -> None:
        """The probe was not sent after all."""
        if self._probing.pop(name, None) is not None and name in self._away:
            self._probe_due[name] = 0.0

    def next_probe(self) -> float | None:
        """When the next held machine is to be probed, on the monotonic clock."""
        return min((when for _, when in self._due()), default=None)

    def _due(self) -> list[tuple[str, float]]:
        """The machines to be probed, each with when; none that a user holds."""
        return [(name, when) for name, when in self._probe_due.items() if name not in self._by_users]

    def answered(self, answer: ProbeAnswerMessage, place: str) -> None:
        """A probe succeeded: note what the place has."""
        self._probing.pop(place, None)
        if place in self._inventory:
            self._known.add(place)
            machine = self._inventory[place]
            self._inventory[place] = replace(
                machine,
                cpus=machine.cpus if machine.cpus is not None else answer.cpus,
                memory_bytes=machine.memory_bytes if machine.memory_bytes is not None else answer.memory_bytes,
                gpus=machine.gpus if machine.gpus is not None else answer.gpus,
            )

    def recall(self, db: Database, now: float) -> None:
        """Hold what the store says is held, and that alone; probe it at once: who tried last may be another process."""
        self._away.clear()
        self._probe_due.clear()
        for name, hold in machines.away(db).items():
            if name in self._inventory:
                self._away[name] = hold.reason
                self._probe_due[name] = now
        self._by_users = machines.held_by_users(db)
        self.held = self._all_held()

    def read(self, db: Database, now: float) -> None:
        """Another process has written: what users hold (``let_go`` tells what they released), what they want probed."""
        self._by_users = machines.held_by_users(db)
        for name, hold in machines.away(db).items():
            if name in self._away and hold.probe_due_s == 0:
                self._probe_due[name] = now

    def let_go(self, db: Database, now_s: float) -> list[str]:
        """The machines that are held no longer: users released them, or the time of a hold has run out."""
        if any(hold.is_over(now_s) for hold in self._by_users.values()):
            machines.forget_over(db, now_s)
            self._by_users = {name: hold for name, hold in self._by_users.items() if not hold.is_over(now_s)}
        before, self.held = self.held, self._all_held()
        return [name for name in before if name not in self.held]

    def next_end_s(self) -> float | None:
        """When the hold of a user runs out next, by the clock of the store."""
        return min((hold.until_s for hold in self._by_users.values() if hold.until_s is not None), default=None)

    def held_by_user(self, name: str) -> Hold | None:
        """The hold of a user on the machine."""
        return self._by_users.get(name)

    def _all_held(self) -> dict[str, str]:
        by_users = {name: hold.text for name, hold in self._by_users.items() if name in self._inventory}
        return {**self._away, **by_users}

    def hold(
        self,
        db: Database,
        name: str,
        reason: str,
        now: float,
        now_s: float,
        *,
        probed: bool = False,
        refused: bool = False,
    ) -> None:
        """The machine does not answer: hold it and probe it later, after a failed probe later still.

        ``refused``: it answers, and refuses the login.
        """
        if name not in self._inventory or (name in self._away and not probed):
            return  # many tasks find out at once that a machine is away: it is held once, and has its next probe
        self._probing.pop(name, None)
        self._away[name] = reason
        first_s, longest_s = (REFUSED_FIRST_S, REFUSED_LONGEST_S) if refused else (PROBE_FIRST_S, PROBE_LONGEST_S)
        wait_s = min(max(self._backoff.get(name, first_s), first_s), longest_s)
        self._backoff[name] = wait_s * 2
        self._probe_due[name] = now + wait_s
        machines.hold(db, name, reason, now_s, now_s + wait_s)
        if name not in self._by_users:
            self.held[name] = reason

    def release(self, db: Database, name: str) -> bool:
        """The machine answers again; True when it was held, and no user holds it."""
        self._backoff.pop(name, None)
        self._probe_due.pop(name, None)
        machines.release(db, name)
        self._away.pop(name, None)
        return name not in self._by_users and self.held.pop(name, None) is not None
