"""One round: a fleet, its experiments, what happens to them, and what is left."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos import autopsy, checks, faults
from tests.chaos.experiments import Experiments
from tests.chaos.faults import Fault
from tests.chaos.services import Services
from tests.chaos.site import Site
from tests.waiting import wait_until
from wlmctl.states import EXPERIMENT_FINAL, FINAL
from wlmctl.store import Database, experiments, open_database

#: Seconds in which all ends after the last fault, and in which the broker is empty after that.
END_WITHIN_S, EMPTY_WITHIN_S = 240.0, 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is drawn from: the kinds of faults, and how many of them begin in how long; ``size`` 1.0: 300 tasks, which
    sleep ``pace`` times as long as in a full round."""

    kinds: Sequence[str] = faults.KINDS
    faults: int = 5
    within_s: float = 12.0
    size: float = 1.0
    store: str = ""
    workers: int = 3
    orchestrators: int = 2
    pace: float = 1.0


@dataclass(slots=True)
class Outcome:
    """How a round went; ``wrong`` is empty when everything holds."""

    seed: int
    how: str
    plan: list[Fault]
    took_s: float = 0.0
    attempts: int = 0
    dispatches: int = 0
    wrong: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    folder: Path = Path()

    def text(self) -> str:
        """For people: one line, and one for each thing that is wrong."""
        end = "WRONG" if self.wrong else "all is well"
        head = (
            f"round {self.seed} ({self.how}): {end} after {self.took_s:.0f} s, "
            f"{self.attempts} attempts, {self.dispatches} dispatches"
        )
        again = [f"  tried again: {each}" for each in self.again[:5]]
        return "\n".join([head, *again, *(f"  wrong: {each}" for each in self.wrong[:20])])


class Round:
    """Plays one round in a folder of its own, which stays."""

    def __init__(self, site: Site, seed: int, settings: Settings, say: Callable[[str], None] = print) -> None:
        self.site, self.seed, self.settings, self._say = site, seed, settings, say
        chance = Random(seed)
        self.folder = site.folder / f"round-{seed}-{uuid.uuid4().hex[:6]}"
        self.folder.mkdir()
        self.is_quorum = chance.random() < 0.3
        stores = ["sqlite"] if site.postgres is None else ["sqlite", "postgresql"]
        self.store = settings.store or chance.choice(stores)
        self.scheduler = Random(f"scheduler {seed}").choice(["fifo", "matchmaking"])
        self.plan = faults.draw(chance, settings.kinds, within_s=settings.within_s, count=settings.faults)
        self.moments_s = {what: chance.uniform(0.5, 6.0) * settings.pace for what in ("urgent", "cancel")}
        experiments = Experiments(self.folder, chance, size=settings.size, pace=settings.pace)
        self.written = [experiments.main(), experiments.late(), experiments.doomed()]
        self.ids: list[str] = []

    def play(self) -> Outcome:
        """Everything, in order; never raises for what goes wrong with wlmctl."""
        outcome = Outcome(self.seed, f"{self.store}, {self.scheduler}", self.plan, folder=self.folder)
        begin_s = time.monotonic()
        self.services = Services(self.site, self.folder, self.store, is_quorum=self.is_quorum, scheduler=self.scheduler)
        self.fleet = self.services.fleet(self.settings.workers, self.settings.orchestrators)
        try:
            self._happen()
            self._wait_for_the_end()
            self._look(outcome)
        except AssertionError as error:
            outcome.wrong.append(str(error))
        finally:
            outcome.took_s = time.monotonic() - begin_s
            if outcome.wrong:
                self._write_autopsy()
            self.fleet.close()
            self.services.close()
        return outcome

    def _happen(self) -> None:
        """Submit, and let everything happen at its time; returns when all of it is mended."""
        todo: list[tuple[float, str, Callable[[], object]]] = [
            (fault.at_s, str(fault), partial(self.services.happen, fault, self.fleet)) for fault in self.plan
        ]
        main, late, doomed = (written.path.name for written in self.written)
        self.ids = [self.fleet.order("submit", path) for path in (main, late, doomed)]
        for what, order in (("urgent", ("priority", self.ids[1], "urgent")), ("cancel", ("cancel", self.ids[2]))):
            at_s = self.moments_s[what]
            todo.append((at_s, f"{at_s:5.1f} s: {' '.join(order)}", partial(self._order, *order)))
        wrong: list[str] = []
        threads, begin_s = [], time.monotonic()
        for at_s, text, play in sorted(todo, key=lambda each: each[0]):
            time.sleep(max(0.0, begin_s + at_s - time.monotonic()))
            self._say(text)
            threads.append(threading.Thread(target=_play, args=(play, text, wrong)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert not wrong, "; ".join(wrong)

    def _order(self, *command: str) -> None:
        try:
            self.fleet.order(*command)
        except AssertionError as error:
            if "cannot change any more" not in str(error):  # it has ended meanwhile
                raise

    def _wait_for_the_end(self) -> None:
        with self._store() as db:
            seqs = [experiments.find(db, each).seq for each in self.ids]

            def is_over() -> bool:
                rows = [experiments.get(db, seq) for seq in seqs]
                return all(row is not None and row.state in EXPERIMENT_FINAL for row in rows)

            try:
                wait_until(is_over, "all experiments have ended", END_WITHIN_S)
            except AssertionError:
                left = [
                    f"{task.name} ({task.state}, attempt {task.attempt}, dispatch {task.dispatch}, of {task.worker})"
                    for seq in seqs for task in experiments.tasks(db, seq) if task.state not in FINAL
                ]  # fmt: skip
                shown = ", ".join(left[:10])
                raise AssertionError(f"{len(left)} tasks have not ended after {END_WITHIN_S:g} s: {shown}") from None

    def _write_autopsy(self) -> None:
        vhost = self.services.vhost.name if self.services.vhost else None
        with suppress(Exception), self._store() as db:
            seqs = [experiments.find(db, each).seq for each in self.ids]
            autopsy.write(self.folder / "autopsy", db, self.site, vhost, self.fleet, seqs)

    def _look(self, outcome: Outcome) -> None:
        """Everything that must hold now, while the fleet is idle, while it ends, and after that."""
        wrong = outcome.wrong
        wrong += self._what_is_queued(of_workers=True)
        wrong += self.fleet.end("worker")
        with self._store() as db:
            if self.services.vhost:  # without workers of their own nobody looks for what a killed process had
                wrong += wait_for_nothing(partial(checks.nothing_kept, db), 45)
            wrong += self._what_is_queued(of_workers=False)  # by the leader; the last words of workers, too
            wrong += self.fleet.end("orchestrator")
            wrong += self._what_is_queued(of_workers=False)
            rows = []
            for written, text in zip(self.written, self.ids, strict=True):
                row = experiments.find(db, text)
                wrong += checks.one_final_state(db, row.seq, written)
                tasks = list(experiments.tasks(db, row.seq))
                rows += [(row.id, task) for task in tasks]
                outcome.attempts += sum(task.attempt for task in tasks)
                outcome.again += checks.tried_again(db, row.seq)
                outcome.dispatches += sum(task.dispatch for task in tasks)
            wrong += checks.never_cancelled(outcome.again)
            wrong += checks.once_an_attempt(self.folder, rows)
            wrong += checks.told_in_full(db, {task.exp for _, task in rows})
        wrong += checks.no_bug(self.fleet)
        wrong += wait_for_nothing(partial(checks.no_process, self.fleet), 30)

    def _what_is_queued(self, *, of_workers: bool) -> list[str]:
        """What is left in queues, or queues of workers that are gone."""
        if self.services.vhost is None:
            return []
        name = self.services.vhost.name
        living = {member.name for member in self.fleet.named("worker")} if of_workers else set()
        return wait_for_nothing(lambda: checks.nothing_queued(self.site.queues(name), living), EMPTY_WITHIN_S)

    @contextmanager
    def _store(self) -> Iterator[Database]:
        db = open_database(self.services.store_url)
        try:
            yield db
        finally:
            db.close()


def _play(play: Callable[[], object], text: str, wrong: list[str]) -> None:
    try:
        play()
    except Exception as error:
        wrong.append(f"{text}: {error!r}")


def wait_for_nothing(look: Callable[[], Iterable[str]], timeout_s: float) -> list[str]:
    """What is still wrong after that time; returns at once when nothing is."""
    deadline_s = time.monotonic() + timeout_s
    while (wrong := list(look())) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return wrong
