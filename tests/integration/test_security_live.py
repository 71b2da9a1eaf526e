"""A fleet at work is told lies by one who has a worker's login: nothing changes, and what was said is kept."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pika
import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq_users import user_for
from tests.waiting import wait_until
from wlmctl.message import (
    Answer,
    CleanedMessage,
    GoodbyeMessage,
    HeartbeatMessage,
    HeldMessage,
    Outcome,
    PermitsBackMessage,
    PollAnswerMessage,
    ProbeAnswerMessage,
    ResultMessage,
    ReturnedMessage,
    StartedMessage,
    StopMessage,
    TaskKey,
    bundle,
    decode,
    encode,
)
from wlmctl.store import machines
from wlmctl.store.opening import open_database

EXPERIMENT = """
name: lied-to
tasks:
  quick: {type: environment, directories: [made]}
  step:
    type: environment
    commands: ["echo begun >> $HOME/witness; while [ ! -e $HOME/go ]; do sleep 0.1; done"]
  job: {type: job, command: "echo begun >> $HOME/witness-of-job; while [ ! -e $HOME/go ]; do sleep 0.1; done"}
"""

LIMIT = 1_000_000


class Liar:
    """A plain AMQP connection with a worker's login."""

    def __init__(self, login):
        self.login = login
        self._connection = pika.BlockingConnection(pika.URLParameters(login.url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self.said = 0

    def say(self, message, **properties):
        body = message if isinstance(message, bytes) else encode(message)
        properties = pika.BasicProperties(**{"user_id": self.login.user, "delivery_mode": 2, **properties})
        self._channel.basic_publish("wlm.results", "wlm.results", body, properties, mandatory=True)
        self.said += 1

    def close(self):
        self._connection.close()


class Lab:
    """An orchestrator and a worker at work on the experiment, and two who lie about it."""

    def __init__(self, rabbit, vhost, folder):
        self.rabbit, self.vhost, self.folder = rabbit, vhost, folder
        logins = {
            part: user_for(rabbit, folder, vhost, part, f"{vhost}-{part}")
            for part in ("orchestrator", "worker", "operator")
        }
        self.worker_login = logins["worker"]
        self.evil_login = user_for(rabbit, folder, vhost, "worker", f"{vhost}-evil")
        (folder / "wlmctl.toml").write_text(
            f"message_limit = {LIMIT}\n[machines.local]\nscratch = '{folder}/scratch'\n"
        )
        self.line = CommandLine(folder)
        self.logins = logins

    def environ(self, part):
        self.line.environ["WLMCTL_BROKER"] = self.logins[part].url
        return self.line

    def start(self):
        self.line.write("experiment.yaml", EXPERIMENT)
        self.leading = self.environ("orchestrator").start("orchestrator")
        self.working = self.environ("worker").start("worker", "--name", "good", "--slots", "4")
        self.environ("operator")
        self.id = self.line.run("submit", "experiment.yaml").stdout.strip()
        wait_until(lambda: self.states() == STATES, "the experiment is at work", 40)
        (self.worker,) = self.line.json("worker", "list")["workers"]

    def states(self):
        return {name: task["state"] for name, task in self.line.tasks(self.id).items()}

    def keys(self):
        """The current dispatch of each task, with its nonce."""
        db = open_database(f"sqlite:///{self.line.store}", create=False)
        rows = db.rows("SELECT name, exp, idx, attempt, dispatch, nonce FROM tasks")
        db.close()
        return {name: (TaskKey(*key), nonce) for name, *key, nonce in rows}

    def dead(self):
        return self.line.json("queue", "dead")["dead"]


STATES = {"quick": "succeeded", "step": "running", "job": "deferred"}


@pytest.fixture
def lab(rabbit, tmp_path):
    lab = Lab(rabbit, rabbit.vhost().name, tmp_path)
    yield lab
    Path(lab.line.environ["HOME"], "go").touch()  # what waits for it ends
    lab.line.run("cancel", lab.id, code=None)
    lab.line.close()
    rabbit.remove_vhost(lab.vhost)


@pytest.fixture
def fleet(lab):
    lab.start()
    return lab


def unchanged(lab, before):
    """Nothing has happened to the experiment that could be seen, and everybody is still there."""
    assert lab.states() == STATES
    assert {name: key for name, (key, _) in lab.keys().items()} == before
    assert (lab.leading.poll(), lab.working.poll()) == (None, None), lab.line.said(lab.leading)
    (worker,) = lab.line.json("worker", "list")["workers"]
    assert worker["id"] == lab.worker["id"]
    db = open_database(f"sqlite:///{lab.line.store}", create=False)
    assert machines.holds(db) == {}
    db.close()


def goes_on(lab):
    """The experiment comes to its end as if nothing had been said; each thing was done once."""
    home = lab.line.environ["HOME"]
    with open(f"{home}/go", "w"):
        pass
    lab.line.run("wait", lab.id, "--timeout", "60")
    for witness in ("witness", "witness-of-job"):
        with open(f"{home}/{witness}") as file:
            assert file.read() == "begun\n"


def all_read(lab):
    broker = lab.line.json("queue", "list")["queues"]
    return not any(queue["ready"] for queue in broker if queue["name"] == "wlm.results")


def test_forged_words_about_tasks_change_nothing_and_are_recorded(fleet):
    keys = fleet.keys()
    before = {name: key for name, (key, _) in keys.items()}
    with closing(Liar(fleet.worker_login)) as liar:  # as the worker itself, but without the nonce
        worker = fleet.worker["id"]
        for name in ("step", "job", "quick"):
            key = keys[name][0]
            for what in ("done", "failed", "cancelled", "unreachable", "declined", "deferred"):
                outcome = Outcome(what, "forged", handle={}, machine="local")
                liar.say(ResultMessage(worker, key, "0" * 16, "x", outcome))
                liar.say(PollAnswerMessage(worker, "local", 0, [Answer(key, outcome, "0" * 16)]))
                liar.say(PollAnswerMessage(worker, "local", 0, [Answer(key, outcome, "")], ending=True))
            liar.say(StartedMessage(worker, key, "0" * 16))
            liar.say(HeldMessage(worker, key, "0" * 16))
            for reason in ("redelivered", "busy", "draining"):
                liar.say(ReturnedMessage(worker, key, "0" * 16, reason))
        unknown = TaskKey(999, 0, 1, 1), TaskKey(keys["step"][0].exp, 999, 1, 1), TaskKey(2**63 - 1, -1, 0, 0)
        for key in unknown:
            liar.say(ResultMessage(worker, key, "", "x", Outcome("done")))
            liar.say(PollAnswerMessage(worker, "local", 0, [Answer(key, Outcome("done"))]))
        liar.say(ProbeAnswerMessage(worker, "local", "forged: away"))
        liar.say(CleanedMessage(worker, "local", keys["step"][0].exp, "forged"))
    wait_until(lambda: all_read(fleet), "all was read", 60)
    unchanged(fleet, before)
    told = fleet.line.run("events", fleet.id, "-o", "json").stdout.splitlines()
    refused = [json.loads(event) for event in told if "nonce is wrong" in event]
    assert {event["task"] for event in refused} == {"step", "job"}
    assert fleet.dead() == []
    goes_on(fleet)


def test_words_in_the_name_of_another_hosts_worker_end_in_the_dead_letters(fleet):
    keys = fleet.keys()
    before = {name: key for name, (key, _) in keys.items()}
    worker, (key, nonce) = fleet.worker["id"], keys["step"]
    db = open_database(f"sqlite:///{fleet.line.store}", create=False)
    ((info,),) = db.rows("SELECT info FROM workers")
    db.close()
    beat = {"schema": 1, "kind": "heartbeat", "worker": worker, "number": 10**6, "is_draining": True}
    with closing(Liar(fleet.evil_login)) as liar:
        liar.say(json.dumps({**beat, "info": _information(info)}).encode())
        liar.say(GoodbyeMessage(worker, "forged"))
        liar.say(PermitsBackMessage(worker, ["x"]))
        liar.say(ResultMessage(worker, key, nonce, "x", Outcome("failed", "forged", "user")))  # even with the nonce
        liar.say(GoodbyeMessage(worker, "forged by nobody"), user_id=None)
        liar.say(StopMessage([key]))
        said = liar.said
    wait_until(lambda: len(fleet.dead()) == said, "they are dead letters", 60)
    assert isinstance(decode(json.dumps({**beat, "info": _information(info)}).encode()), HeartbeatMessage)
    reasons = [letter["reason"] for letter in fleet.dead()]
    assert sum(f"was sent by user {fleet.evil_login.user}" in reason for reason in reasons) == 4
    assert {letter["origin"] for letter in fleet.dead()} == {"wlm.results"}
    unchanged(fleet, before)
    goes_on(fleet)


def _information(text):
    return {
        "host": "h", "host_name": "h", "user": "u", "boot": "b", "pid": 1, "start_time": "1", "slots": 1, "types": [],
        **json.loads(text),
    }  # fmt: skip


def test_monsters_end_in_the_dead_letters_with_a_reason(fleet):
    before = {name: key for name, (key, _) in fleet.keys().items()}
    with closing(Liar(fleet.evil_login)) as liar:
        for body in (
            b"",
            b"\xff\xfe",
            b"null",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"schema":1,"kind":"result","escaped":true,"worker":' + b"[" * 5000 + b"]" * 5000 + b"}",
            b'{"schema":2,"kind":"heartbeat"}',
            b'{"schema":1,"kind":"bundle","messages":[' + b"1," * 100_000 + b"1]}",
            b'{"schema":1,"kind":"result","worker":"w","key":{"exp":' + b"9" * 100 + b"}}",
            b"x" * (LIMIT + 1),
            b'{"schema":1,"kind":"goodbye","worker":"' + b"w" * LIMIT + b'"}',
        ):
            liar.say(body)
        said = liar.said
    wait_until(lambda: len(fleet.dead()) == said, "they are dead letters", 30)
    reasons = [letter["reason"] for letter in fleet.dead()]
    assert all(reasons), reasons
    assert reasons.count("larger than the limit") == 2
    assert sum("nested deeper" in reason for reason in reasons) == 3
    assert any("schema 2" in reason for reason in reasons)
    unchanged(fleet, before)
    goes_on(fleet)


def test_one_bad_message_does_not_take_along_those_it_travels_with(fleet):
    key, nonce = fleet.keys()["step"]
    with closing(Liar(fleet.worker_login)) as liar:
        done = encode(ResultMessage(fleet.worker["id"], key, nonce, "x", Outcome("done")))
        liar.say(bundle([b"{}", done, b"[]"]))
    wait_until(lambda: fleet.states()["step"] == "succeeded", "the good one counts", 60)
    wait_until(lambda: len(fleet.dead()) == 1, "the body is a dead letter", 60)
    assert fleet.leading.poll() is None


def test_a_replayed_result_is_recorded_and_ignored(fleet):
    key, nonce = fleet.keys()["step"]
    result = ResultMessage(fleet.worker["id"], key, nonce, "x", Outcome("done"))
    with closing(Liar(fleet.worker_login)) as liar:
        for _ in range(5):
            liar.say(result)
        wait_until(lambda: fleet.states()["step"] == "succeeded", "the first counts", 60)
        liar.say(ResultMessage(fleet.worker["id"], key, nonce, "x", Outcome("failed", "changed", "user")))
    wait_until(lambda: all_read(fleet), "all was read", 60)

    def ignored():
        events = fleet.line.run("events", fleet.id, "-o", "json").stdout
        return events.count("came too late and was ignored") >= 5

    wait_until(ignored, "the others are recorded", 60)
    assert fleet.states()["step"] == "succeeded"
    assert fleet.leading.poll() is None
