"""A random world around a fleet: workers that die, drain and come; a broker that forgets; leaders that are killed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.played_fleet import PlayedFleet, PlayedWorker
from tests.random_world import World
from wlmctl import control
from wlmctl.message import (
    Answer,
    CleanedMessage,
    CleanMessage,
    DrainMessage,
    EndMessage,
    Message,
    PollAnswerMessage,
    PollMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    StopMessage,
    TaskKey,
)
from wlmctl.states import EXPERIMENT_FINAL

#: Live workers at the most.
MOST = 4


class FleetWorld(World):
    """What happens around a fleet; the truth about each job is kept here, whoever is asked for it."""

    play: PlayedFleet

    def __init__(self, play: PlayedFleet, chance: Random) -> None:
        super().__init__(play, chance)
        self._named = 0
        self._a_worker_comes()
        self._a_worker_comes()

    def something_happens(self) -> None:
        """One event of the world, and the leader's answer to it."""
        chance = self._chance
        what: Callable[[], object] = chance.choices(
            [self._a_worker_acts, self._an_order_is_answered, self._a_user_meddles, self._a_worker_dies,
             self._a_worker_comes, self._a_worker_falls_silent, self._a_worker_drains, self._the_broker_restarts,
             self._the_broker_forgets, self._a_leader_is_killed],
            weights=[50, 20, 5, 4, 6, 2, 2, 2, 2, 4],
        )[0]  # fmt: skip
        what()
        self.play.step(chance.choice([0, 0, 0, 0.5, 3, 15]))
        self._note_stops()

    def come_to_an_end(self) -> None:
        """From now on everybody lives and answers, and everything that is handed out is done."""
        for worker in self.play.workers:
            if worker.is_silent:
                worker.die()
        self._a_worker_comes(even=True)
        for _ in range(300):
            for seq in self.seqs:
                control.resume(self.play.others, seq, now_s=self.play.clock.time())
            for worker in self._live():
                for message, _ in list(worker.held.values()):
                    worker.finish(message.key, self.outcome(message, good=True))
                for order in list(worker.orders):
                    self._obeys(worker, order, good=True)
            self.play.step(self._chance.choice([1, 3, 20]))
            if self._chance.random() < 0.3:
                self.play.clock.now_s += 650  # so that what waits for its next attempt comes
            self._note_stops()
            if all(self.play.row(seq).state in EXPERIMENT_FINAL for seq in self.seqs):
                return
        raise AssertionError(f"no end: {[self.play.states(seq) for seq in self.seqs]}")

    def _live(self) -> list[PlayedWorker]:
        return [worker for worker in self.play.workers if not worker.is_dead]

    def _a_worker_comes(self, *, even: bool = False) -> None:
        if even or len(self._live()) < MOST:
            self._named += 1
            machines = self._chance.choice([("*",), ("*",), ("local", "m"), ("local", "g", "twin")])
            self.play.worker(
                f"w{self._named}", machines=("*",) if even else machines, slots=self._chance.choice([1, 4])
            )

    def _a_worker_dies(self) -> None:
        if self._live():
            self._chance.choice(self._live()).die()

    def _a_worker_falls_silent(self) -> None:
        if self._live():
            worker = self._chance.choice(self._live())
            worker.is_silent = not worker.is_silent

    def _a_worker_drains(self) -> None:
        if not self._live():
            return
        worker = self._chance.choice(self._live())
        worker.drain()
        for message, _ in list(worker.held.values()):
            if message.key not in worker.begun:
                worker.hand_back(message.task, "draining")
        for message, _ in list(worker.held.values()):
            worker.finish(message.key, self.outcome(message))
        worker.goodbye()

    def _the_broker_restarts(self) -> None:
        self.play.broker.restart()

    def _the_broker_forgets(self) -> None:
        self.play.lose_everything()

    def _a_leader_is_killed(self) -> None:
        self.play.lead()

    def _a_worker_acts(self) -> None:
        workers = [worker for worker in self._live() if worker.held and not worker.is_silent]
        if not workers:
            return
        worker = self._chance.choice(workers)
        message, _ = self._chance.choice(list(worker.held.values()))
        match self._chance.choice(["end", "end", "end", "begin", "busy", "lease"]):
            case "begin":
                worker.begin(message.task)
            case "busy" if message.key not in worker.begun:
                worker.hand_back(message.task, "busy")
            case "lease" if message.key not in worker.leased:
                worker.lease(message.task)
            case _:
                worker.finish(message.key, self.outcome(message))

    def _an_order_is_answered(self) -> None:
        workers = [worker for worker in self._live() if worker.orders and not worker.is_silent]
        if workers:
            worker = self._chance.choice(workers)
            self._obeys(worker, self._chance.choice(worker.orders))

    def _obeys(self, worker: PlayedWorker, order: Message, good: bool = False) -> None:
        chance = self._chance
        worker.orders.remove(order)
        if isinstance(order, (PollMessage, EndMessage)):
            tell = self.look_at(order, good) if isinstance(order, PollMessage) else self.end(order, good)
            answers = [Answer(each.key, tell(each.key), each.nonce) for each in order.deferrals]
            number = order.number if isinstance(order, PollMessage) else 0
            is_end = isinstance(order, EndMessage)
            worker.say(PollAnswerMessage(worker.id, order.machine.name, number, answers, ending=is_end))
        elif isinstance(order, ProbeMessage):
            reason = "" if good else chance.choice(["", "no route to host"])
            worker.say(ProbeAnswerMessage(worker.id, order.machine.name, reason))
        elif isinstance(order, CleanMessage):
            worker.say(CleanedMessage(worker.id, order.machine.name, order.exp, ""))
        else:
            assert isinstance(order, (StopMessage, DrainMessage)), order

    def _note_stops(self) -> None:
        for worker in self.play.workers:
            for order in [order for order in worker.orders if isinstance(order, StopMessage)]:
                self._stopped |= set[TaskKey](order.keys)
                worker.orders.remove(order)
