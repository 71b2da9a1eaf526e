"""Plays jobs with faults: a fleet, a Slurm, an experiment that goes to its end and one that is cancelled."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checks import MAY_END_WITH, no_bug, told_in_full
from tests.chaos.cluster import checks, inside
from tests.chaos.cluster.faults import GONE, PACK, ROW, SINGLE, Fault
from tests.chaos.fleet import Fleet
from tests.chaos.rounds import wait_for_nothing
from tests.services.slurm import Slurm
from tests.services.sshd import Farm
from wlmctl.states import EXPERIMENT_FINAL, FINAL
from wlmctl.store import Database, experiments, open_database

WORKERS, SLOTS = 2, 4

#: Seconds in which everything ends, and more for each job; in which the queue is empty after that; between two looks.
END_WITHIN_S, EACH_S, LEFT_WITHIN_S, LOOK_S = 120.0, 3.0, 30.0, 0.1

#: Elements of one array, members of one experiment's packs.
PART = 6

PROJECT = Path(__file__).parents[3]

SETTINGS = 'batch = "slurm"\nmax_connections = 8\n[machines.cluster.batch_options]\nlost_after = "3s"\n'
_COMMAND = """
    command: >-
      echo ran >> "witness-$WLMCTL_TASK-$WLMCTL_ATTEMPT"; sleep 0.$(( ${n} % 10 ));
      exit $(( ${n} % ODD ? 0 : CODE ))
""".replace("ODD", str(checks.ODD)).replace("CODE", str(checks.ODD_CODE))
_ENDLESS = "    command: 'echo ran >> \"witness-$WLMCTL_TASK-$WLMCTL_ATTEMPT\"; sleep 3600'\n"

#: By task: what is its own. Jobs that differ in what they ask of Slurm are no array.
OWN = {
    SINGLE: f'    batch: {{slurm: {{extra: ["--nice=${{n}}"]}}}}{_COMMAND}',
    ROW: _COMMAND,
    PACK: f"    pack: 4{_COMMAND}",
    GONE: _ENDLESS,
}
#: Two jobs, whose polls are further apart than ``lost_after``: what runs and has ended is removed by the second.
LAST = """
name: last
tasks:
  one: {type: job, machine: cluster, command: sleep 5}
  other: {type: job, machine: cluster, command: sleep 1, needs: [one]}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """The services: ``vhost`` is the URL of one of its own."""

    folder: Path
    slurm: Slurm
    farm: Farm
    vhost: str


@dataclass(slots=True)
class Outcome:
    """How it went. ``not_reached`` are faults whose point the job did not come to."""

    jobs: int
    took_s: float = 0.0
    attempts: int = 0
    dispatches: int = 0
    not_reached: list[Fault] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people."""
        struck = self.jobs - len(self.not_reached)
        right = "all is well" if not self.wrong else f"{len(self.wrong)} WRONG"
        head = (
            f"{self.jobs} jobs, {struck} of their faults struck: {right} after {self.took_s:.0f} s, "
            f"{self.attempts} attempts, {self.dispatches} dispatches"
        )
        missed = [f"  not reached: {', '.join(map(str, self.not_reached))}"] if self.not_reached else []
        return "\n".join([head, *missed, *(f"  wrong: {each}" for each in self.wrong[:20])])


class Play:
    """So many jobs, each with a fault, in a folder of their own."""

    def __init__(self, site: Site, faults: Sequence[Fault]) -> None:
        self.site = site
        self.folder = site.folder / f"play-{uuid.uuid4().hex[:6]}"
        self.faults = self.folder / "faults"
        for name in ("armed", "fired", "workers"):
            (self.faults / name).mkdir(parents=True)
        (self.folder / "python").mkdir()
        (self.folder / "python" / "sitecustomize.py").write_text(f"import {inside.__name__} as it\nit.install()\n")
        self.faults_of: dict[str, list[Fault]] = {}
        for number, fault in enumerate(faults):
            self.faults_of.setdefault(fault.tasks[number % len(fault.tasks)], []).append(fault)

    def play(self) -> Outcome:
        """Everything, in order; never raises for what goes wrong with wlmctl."""
        outcome = Outcome(sum(map(len, self.faults_of.values())))
        begin_s = time.monotonic()
        fleet = self._fleet()
        try:
            self._run(fleet, outcome)
        except AssertionError as error:
            outcome.wrong.append(str(error))
        finally:
            armed = sorted((self.faults / "armed").iterdir())
            outcome.not_reached = [Fault(path.name.partition("@")[2], path.read_text().strip()) for path in armed]
            fleet.close()
            outcome.took_s = time.monotonic() - begin_s
        return outcome

    def _fleet(self) -> Fleet:
        inventory = self.site.farm.write_inventory(self.folder, extra={"cluster": SETTINGS})
        python = os.pathsep.join(
            [str(self.folder / "python"), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        self.store = f"sqlite:///{self.folder}/wlmctl.db"
        env = {
            **inventory.env, "WLMCTL_STORE": self.store, "WLMCTL_BROKER": self.site.vhost, "PYTHONPATH": python,
            inside.FOLDER: str(self.faults),
            # processes start very often here: they find what they need compiled
            "PYTHONPYCACHEPREFIX": str(self.site.folder / "bytecode"), "PYTHONDONTWRITEBYTECODE": "",
        }  # fmt: skip
        (self.faults / "sshd").write_text(f"{self.site.farm['cluster'].pid}\n")
        self._note_controller()
        fleet = Fleet(self.folder, uuid.uuid4().hex, env)
        fleet.add("leader", "orchestrator", env={}, ways={})
        for number in range(WORKERS):
            name = f"worker-{number}"
            fleet.add(name, "worker", "--slots", str(SLOTS), "--name", name, env={}, ways={})
        return fleet

    def _note_controller(self) -> None:
        (self.faults / "controller").write_text(f"{self.site.slurm.pid('slurmctld')}\n")

    def _run(self, fleet: Fleet, outcome: Outcome) -> None:
        db = open_database(self.store, create=True)
        try:
            self._go(fleet, db, outcome)
        finally:
            db.close()

    def _go(self, fleet: Fleet, db: Database, outcome: Outcome) -> None:
        ids = list[str]()
        for names in self._experiments():
            ids.append(self._submit(fleet, names))
            # what is started together with few others meets few deaths: else it would be started for itself
            self._wait(db, ids[-1], f"all of {', '.join(names)} are in the queue", _are_in_the_queue)
            if GONE in names:
                fleet.order("cancel", ids[-1])
        for identifier in ids:
            self._wait(db, identifier, f"{identifier} has ended", _is_over)
        # a controller that lost its last seconds shows as held what has run, or as running, until the next polls
        (self.folder / "last.yaml").write_text(LAST)
        self._wait(db, fleet.order("submit", "last.yaml"), "the last job has ended", _is_over)
        wrong = outcome.wrong
        for identifier in ids:
            row = experiments.find(db, identifier)
            tasks = list(experiments.tasks(db, row.seq))
            outcome.attempts += sum(task.attempt for task in tasks)
            outcome.dispatches += sum(task.dispatch for task in tasks)
            witnesses = self.site.farm["cluster"].home / ".wlmctl" / identifier
            look = checks.were_cancelled if tasks[0].name.startswith(GONE) else checks.went_to_their_ends
            wrong += look(tasks, witnesses)
            wrong += told_in_full(db, [row.seq])
        wrong += wait_for_nothing(lambda: checks.nothing_in_the_queue(self.site.slurm), LEFT_WITHIN_S)
        wrong += wait_for_nothing(lambda: checks.nothing_runs(self.site.slurm), LEFT_WITHIN_S)
        wrong += no_bug(fleet, (-signal.SIGKILL, *MAY_END_WITH))

    def _experiments(self) -> Iterator[dict[str, list[Fault]]]:
        """Which tasks are in one file, with a fault for each instance: few of what is submitted together."""
        if GONE in self.faults_of:
            yield {GONE: self.faults_of[GONE]}
        rows, packs = (self.faults_of.get(name, []) for name in (ROW, PACK))
        for part, first in enumerate(range(0, max(len(rows), len(packs)), PART)):
            parts = {f"{ROW}{part}": rows[first : first + PART], f"{PACK}{part}": packs[first : first + PART]}
            yield {name: faults for name, faults in parts.items() if faults}
        if SINGLE in self.faults_of:
            yield {SINGLE: self.faults_of[SINGLE]}

    def _submit(self, fleet: Fleet, faults_of: dict[str, list[Fault]]) -> str:
        tasks = []
        for name, faults in faults_of.items():
            for number, fault in enumerate(faults, 1):
                (self.faults / "armed" / f"{name}[{number}]@{fault.point}").write_text(f"{fault.victim}\n")
            head = f"  {name}:\n    type: job\n    machine: cluster\n    foreach: {{n: 1..{len(faults)}}}\n"
            tasks.append(f"{head}    retry: {{delay: 0s}}\n{OWN[name.rstrip('0123456789')]}")
        path = self.folder / f"{next(iter(faults_of))}.yaml"
        path.write_text(f"name: {path.stem}\ntasks:\n{''.join(tasks)}")
        return fleet.order("submit", path.name)

    def _spare(self, db: Database) -> None:
        """No third worker dies of a task that goes on."""
        [(count,)] = db.rows("SELECT count(*) FROM tasks WHERE kills > 1 AND ended IS NULL")
        if count:
            (self.faults / "spare").touch()
        else:
            (self.faults / "spare").unlink(missing_ok=True)

    def _wait(self, db: Database, identifier: str, what: str, is_so: Callable[[Database, int], bool]) -> None:
        """Until it is so; a controller that was killed is started again, as an init system would."""
        seq, drained_s = experiments.find(db, identifier).seq, 0.0
        deadline_s = time.monotonic() + END_WITHIN_S + sum(map(len, self.faults_of.values())) * EACH_S
        while not is_so(db, seq):
            if not self.site.slurm.is_alive("slurmctld"):
                self.site.slurm.start_controller()
                self._note_controller()
            if time.monotonic() > drained_s + 1:
                self.site.slurm.undrain()
                drained_s = time.monotonic()
            self._spare(db)
            if time.monotonic() > deadline_s:
                left = [task for task in experiments.tasks(db, seq) if task.state not in FINAL]
                shown = "; ".join(f"{task.name} {task.state} ({task.reason})" for task in left[:10])
                raise AssertionError(f"waited in vain until {what}: {len(left)} have not ended: {shown}")
            time.sleep(LOOK_S)


def _are_in_the_queue(db: Database, seq: int) -> bool:
    return all(task.state == "deferred" or task.state in FINAL for task in experiments.tasks(db, seq))


def _is_over(db: Database, seq: int) -> bool:
    row = experiments.get(db, seq)
    return row is not None and row.state in EXPERIMENT_FINAL
