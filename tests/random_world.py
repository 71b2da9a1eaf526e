"""A world that does anything it may to an orchestrator: workers, machines, users and crashes, drawn by chance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

from msgspec.structs import replace

from tests.orchestra import WORKER, Orchestra
from tests.play import BROKEN, DEFERRED, DONE, FAILED, RUNNING, STOPPED, InterruptibleDatabase, away
from wlmctl import control
from wlmctl.errors import UsageError
from wlmctl.message import (
    CleanedMessage,
    CleanMessage,
    EndMessage,
    Message,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ProbeAnswerMessage,
    ProbeMessage,
    ResultMessage,
    StopMessage,
    TaskKey,
    TaskMessage,
)
from wlmctl.retry import retry
from wlmctl.states import EXPERIMENT_FINAL

UNKNOWN = Outcome("unknown", reason="cannot tell")
DECLINED = Outcome("declined", reason="not me")


def random_experiment(chance: Random) -> str:
    """The text of a small experiment with every kind of edge, role and limit."""
    lines = [
        f"max_running: {chance.randint(1, 3)}" if chance.random() < 0.3 else "",
        f"on_failure: {chance.choice(['continue', 'continue', 'stop'])}",
        f"clean: {chance.choice(['never', 'succeeded', 'always'])}",
        f"priority: {chance.randint(0, 9)}",
        "machines: {r: {requires: {labels: [big]}}, s: {requires: {cpus: 3}, each: n}}",
        "tasks:",
    ]
    with_n = list[bool]()
    for number in range(chance.randint(1, 5)):
        with_n.append(chance.random() < 0.5)
        lines.append(f"  t{number}: {{{', '.join(_task(chance, number, with_n))}}}")
    return "\n".join(filter(None, lines)) + "\n"


def _task(chance: Random, number: int, with_n: list[bool]) -> list[str]:
    is_job = chance.random() < 0.6
    places = ["local", "m", "twin", "g", "r"] + (["s"] if with_n[number] else [])
    place = chance.choice(places)
    keys = [f"type: {'play' if is_job else 'step'}", f"machine: {place}"]
    if with_n[number]:
        keys.append("foreach: {n: 1..3}")
    if is_job:
        gpus = chance.randint(0, 2) if place == "g" else 0
        keys.append(f"resources: {{cpus: {chance.randint(1, 3)}, gpus: {gpus}}}")
    elif chance.random() < 0.3:
        keys.append("also: m")
    if chance.random() < 0.4:
        keys.append(f"retry: {{limit: {chance.randint(1, 2)}, delay: {chance.choice([0, 5])}}}")
    if chance.random() < 0.2:
        keys.append("timeout: 300")
    if chance.random() < 0.2:
        keys.append("may_fail: true")
    needs = [_need(chance, other, number, with_n) for other in range(number) if chance.random() < 0.5]
    return [*keys, f"needs: [{', '.join(needs)}]"]


def _need(chance: Random, other: int, number: int, with_n: list[bool]) -> str:
    form = chance.choice(["all", "ended", "same", "one"])
    if form == "same" and with_n[other] and with_n[number]:
        return f'"t{other}[${{n}}]"'
    if form == "one" and with_n[other]:
        return f'"t{other}[{chance.randint(1, 3)}]"'
    return f"{{t{other}: ended}}" if form == "ended" else f"t{other}"


class World:
    """What happens around one orchestrator; the truth about each job is kept here, and never changes its mind."""

    def __init__(self, play: Orchestra, chance: Random) -> None:
        self.play, self._chance = play, chance
        self.seqs: list[int] = []
        self._said: list[Message] = []
        self._stopped: set[TaskKey] = set()
        self._truth: dict[tuple[int, int, int], Outcome] = {}

    def submit(self, text: str) -> None:
        """One more experiment."""
        self.seqs.append(self.play.submit(text))

    def something_happens(self) -> None:
        """One event of the world, and the orchestrator's answer to it."""
        chance = self._chance
        what: Callable[[], object] = chance.choices(
            [self._a_worker_answers, self._an_order_is_answered, self._an_answer_comes_again, self._a_user_meddles,
             self._a_user_meddles_at_the_worst_moment, self._the_orchestrator_is_killed],
            weights=[50, 30, 5, 6, 6, 5],
        )[0]  # fmt: skip
        what()
        self.play.step(chance.choice([0, 0, 0.5, 3, 15, 130]))
        self._note_stops()

    def come_to_an_end(self) -> None:
        """From now on everybody answers, and everything that is handed out is done."""
        for _ in range(400):
            for seq in self.seqs:
                control.resume(self.play.others, seq, now_s=self.play.clock.time())
            for message in list(self.play.tasks):
                self._answer(message, good=True)
            for order in list(self.play.orders):
                self._obey(order, good=True)
            self.play.step(self._chance.choice([1, 20, 650]))
            self._note_stops()
            if all(self.play.row(seq).state in EXPERIMENT_FINAL for seq in self.seqs) and not self.play.orders:
                return
        raise AssertionError(f"no end: {[self.play.states(seq) for seq in self.seqs]}")

    def assert_nothing_is_exceeded(self) -> None:
        """Capacities by login, each device once, and the experiments' own limits."""
        db = self.play.others
        for site, cpus in db.rows("SELECT site, sum(cpus) FROM tasks WHERE site IS NOT NULL GROUP BY site"):
            assert cpus <= (3 if site.startswith("local") else 4), f"{cpus} cpus are taken of {site}"
        devices = "".join(row[0] for row in db.rows("SELECT devices FROM tasks WHERE devices IS NOT NULL"))
        given = [char for char in devices if char.isdigit()]
        assert len(given) == len(set(given)), f"devices {given}"
        for seq in self.seqs:
            under_way = [s for s in self.play.states(seq).values() if s in ("assigned", "running", "deferred")]
            limit = self.play.orchestrator.works[seq].experiment.max_running if self._is_live(seq) else None
            assert limit is None or len(under_way) <= limit

    def _is_live(self, seq: int) -> bool:
        return seq in self.play.orchestrator.works

    def _say(self, message: Message) -> None:
        self._said.append(message)
        self.play.say(message)

    def _a_worker_answers(self) -> None:
        if self.play.tasks:
            message = self._chance.choice(self.play.tasks)
            if self._chance.random() < 0.3:
                self.play.begin(message.task) if message is self.play.task(message.task) else None
            else:
                self._answer(message)

    def _answer(self, message: TaskMessage, good: bool = False) -> None:
        self.play.tasks.remove(message)
        self._say(ResultMessage(WORKER, message.key, message.nonce, "e", self.outcome(message, good)))

    def outcome(self, message: TaskMessage, good: bool = False) -> Outcome:
        """What comes of executing this."""
        chance, key = self._chance, message.key
        name = (key.exp, key.idx, key.attempt)
        where = chance.choice(list(message.roles.values()))
        is_job = message.type == "play"
        if message.cancel or key in self._stopped:
            if is_job and name in self._truth:  # it runs, or has ended: that is what is found
                outcome = DEFERRED
            else:
                outcome = STOPPED if good else chance.choice([STOPPED, STOPPED, UNKNOWN, away(where)])
        elif is_job:
            outcome = DEFERRED if good else chance.choice([DEFERRED, DEFERRED, DEFERRED, FAILED, away(where), DECLINED])
        else:
            outcome = DONE if good else chance.choice([DONE, DONE, FAILED, BROKEN, away(where), DECLINED])
        if outcome is DEFERRED:
            self._truth.setdefault(name, RUNNING)
            outcome = replace(DEFERRED, started=chance.random() < 0.7)
        return outcome

    def _an_order_is_answered(self) -> None:
        if self.play.orders:
            self._obey(self._chance.choice(self.play.orders))

    def _obey(self, order: Message, good: bool = False) -> None:
        chance, play = self._chance, self.play
        play.orders.remove(order)
        if isinstance(order, PollMessage):
            if not good and chance.random() < 0.15:
                play.answer(order, away(order.machine.name))
            else:
                play.answer(order, self.look_at(order, good))
        elif isinstance(order, ProbeMessage):
            reason = "" if good else chance.choice(["", "no route to host"])
            self._say(ProbeAnswerMessage(WORKER, order.machine.name, reason))
        elif isinstance(order, CleanMessage):
            self._say(CleanedMessage(WORKER, order.machine.name, order.exp, chance.choice(["", "no permission"])))
        elif isinstance(order, EndMessage):
            play.answer(order, self.end(order, good))

    def end(self, order: EndMessage, good: bool) -> Callable[[TaskKey], Outcome]:
        """What comes of ending these jobs."""
        chance = self._chance
        found = dict[TaskKey, Outcome]()
        for each in order.deferrals:
            name = (each.key.exp, each.key.idx, each.key.attempt)
            if self._truth.get(name, RUNNING) is RUNNING:
                if not good and chance.random() < 0.3:
                    found[each.key] = chance.choice([UNKNOWN, away(order.machine.name)])
                    continue
                self._truth[name] = STOPPED
            found[each.key] = self._truth[name]
        return found.__getitem__

    def look_at(self, poll: PollMessage, good: bool) -> Callable[[TaskKey], Outcome]:
        """How these jobs stand."""
        found = dict[TaskKey, Outcome]()
        for each in poll.deferrals:
            name = (each.key.exp, each.key.idx, each.key.attempt)
            if self._truth.get(name, RUNNING) is RUNNING:
                end = DONE if good else self._chance.choice([RUNNING, RUNNING, UNKNOWN, DONE, DONE, FAILED, STOPPED])
                if end is not UNKNOWN:
                    self._truth[name] = end
                found[each.key] = end
            else:
                found[each.key] = self._truth[name]
        return found.__getitem__

    def _an_answer_comes_again(self) -> None:
        if self._said:
            said = self._chance.choice(self._said)
            if not isinstance(said, (ProbeAnswerMessage, PollAnswerMessage)):
                self.play.say(said)

    def _a_user_meddles(self) -> None:
        chance, db, now_s = self._chance, self.play.others, self.play.clock.time()
        seq = chance.choice(self.seqs)
        with suppress(UsageError):
            match chance.choice(["cancel", "pause", "pause", "resume", "resume", "priority", "retry"]):
                case "cancel":
                    control.cancel(db, seq, now_s=now_s, by="eve")
                case "pause":
                    control.pause(db, seq, now_s=now_s, by="eve")
                case "resume":
                    control.resume(db, seq, now_s=now_s)
                case "priority":
                    control.set_priority(db, seq, chance.randint(0, 9), now_s=now_s)
                case "retry":
                    retry(db, seq, now_s=now_s, by="eve")

    def _a_user_meddles_at_the_worst_moment(self) -> None:
        assert isinstance(self.play.db, InterruptibleDatabase)
        self.play.db.interruption = self._a_user_meddles
        self._a_worker_answers()

    def _the_orchestrator_is_killed(self) -> None:
        lost = self._chance.random() < 0.5
        before = list(self.play.tasks)
        self.play.lead()
        if not lost:  # a worker of before is still there, and says so
            for message in before:
                self._said.append(ResultMessage(WORKER, message.key, message.nonce, "e", DONE))

    def _note_stops(self) -> None:
        self._stopped |= {key for order in self.play.orders if isinstance(order, StopMessage) for key in order.keys}
        self.play.orders = [order for order in self.play.orders if not isinstance(order, StopMessage)]
