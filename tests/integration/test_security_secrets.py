"""No secret is anywhere but where its owner put it: a fleet works with planted ones, and everything is searched."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.commandline import CommandLine
from tests.services.postgres import native_server
from tests.services.rabbitmq import require
from tests.services.rabbitmq_users import user_for
from tests.services.sshd import open_farm, require_sshd
from tests.waiting import wait_until
from wlmctl.store.schema import tables

LEAD, WORK, OPER = "planted-lead-broker", "planted-work-broker", "planted-oper-broker"
STORE, PASSPHRASE = "planted-of-the-store", "planted-passphrase"
SECRETS = (LEAD, WORK, OPER, STORE, PASSPHRASE)

#: Stands in the environment of all that is started here, children included.
MARK = "SEARCHED_BY_A_TEST"

EXPERIMENT = r"""
name: secrets
machines: {far: alpha}
tasks:
  here: {type: job, command: "env; tr '\\0' '\\n' < /proc/$PPID/environ; sleep 1; echo done > here.txt"}
  bring: {type: stage, needs: [here], from: "local:here.txt", to: "far:there.txt"}
  there: {type: job, machine: far, needs: [bring], command: "env; cat ../../there.txt || cat there.txt"}
  failing: {type: job, command: "env >&2; exit 3", may_fail: true}
  missing: {type: stage, from: "far:/no/such/file", to: "local:x", may_fail: true}
  setup: {type: environment, commands: [env]}
"""


def held(content):
    """The secrets that these bytes hold, as they are or in base64."""
    texts = [content]
    for word in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", content):
        with suppress(binascii.Error):
            texts.append(base64.b64decode(word[: len(word) // 4 * 4]))
    return {secret for secret in SECRETS if any(secret.encode() in text for text in texts)}


def of_process(process, name):
    """A file of a process in /proc."""
    with open(name, "rb", opener=partial(os.open, dir_fd=process)) as file:
        return file.read()


class Watch(threading.Thread):
    """Looks again and again at the arguments of all processes, and at what the children of ours are given."""

    def __init__(self):
        super().__init__(daemon=True)
        self.found, self.children = set(), set()
        self._is_over = threading.Event()

    def run(self):
        while not self._is_over.wait(0.005):
            for entry in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._look(entry)

    def _look(self, entry):
        process = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)  # of this very process, whoever has its number later
        try:
            words, environ, after = (of_process(process, name) for name in ("cmdline", "environ", "cmdline"))
        finally:
            os.close(process)
        self.found |= {(secret, "arguments", words) for secret in held(words)}
        if not words or words != after:
            return  # it becomes another program now: the words and what it is given may be of two
        if f"{MARK}=1".encode() in environ.split(b"\0") and b"\0-m\0wlmctl\0" not in words:
            self.children.add(words)
            self.found |= {(secret, "environment", words) for secret in held(environ)}

    def end(self):
        self._is_over.set()
        self.join(60)


class Lab:
    """A fleet whose every part has its secrets in another way."""

    def __init__(self, node, server, alpha, folder):
        self.node, self.server, self.alpha, self.folder = node, server, alpha, folder
        self.vhost = node.vhost().name
        for name, part, password in (
            ("lead", "orchestrator", LEAD),
            ("work", "worker", WORK),
            ("oper", "operator", OPER),
        ):
            user_for(node, folder, self.vhost, part, name)
            node.api("PUT", f"users/{name}", {"password": password, "tags": ""})
        server.execute(f"CREATE ROLE store LOGIN PASSWORD '{STORE}'")
        server.execute("CREATE DATABASE store OWNER store TEMPLATE template0 ENCODING 'UTF8'")
        self.lines = []

    def part(self, name, broker, toml="", **environ):
        """A command line of that part, with settings of its own."""
        folder = self.folder / name
        folder.mkdir()
        certificate, key = self.node.client
        files = f'ca = "{self.node.authority.certificate}"\ncert = "{certificate}"\nkey = "{key}"\n'
        head = f'broker = "amqps://{name}@{self.node.host}:{self.node.tls_port}/{self.vhost}"\n' if broker else ""
        (folder / "wlmctl.toml").write_text(f"{head}{toml}\n[tls]\n{files}{self._machines()}")
        line = CommandLine(folder, {MARK: "1", "WLMCTL_SSH_CONFIG": str(self.folder / "ssh_config"), **environ})
        if "WLMCTL_STORE" not in environ:
            del line.environ["WLMCTL_STORE"]
        self.lines.append(line)
        return line

    def store(self, password=""):
        return f"postgresql://store{password}@{self.server.address}:{self.server.port}/store"

    def _machines(self):
        alpha = self.alpha
        return f"""
[machines.local]
scratch = "{self.folder}/scratch"
[machines.alpha]
host = "{alpha.address}"
port = {alpha.port}
user = "{alpha.user}"
key = "{self.folder}/key"
passphrase = {{env = "KEY_PASSPHRASE"}}
scratch = "{alpha.home}/scratch"
"""

    def make_key(self):
        """A key with a passphrase that alpha takes."""
        private = ed25519.Ed25519PrivateKey.generate()
        encrypted = serialization.BestAvailableEncryption(PASSPHRASE.encode())
        form = serialization.PrivateFormat.OpenSSH
        (self.folder / "key").write_bytes(private.private_bytes(serialization.Encoding.PEM, form, encrypted))
        (self.folder / "key").chmod(0o600)
        public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        self.alpha.authorized_keys.write_bytes(public + b"\n")
        (self.folder / "known_hosts").write_text(self.alpha.known_hosts_line)
        (self.folder / "ssh_config").write_text(
            f'Host *\n  IdentitiesOnly yes\n  UserKnownHostsFile "{self.folder}/known_hosts"\n'
            "  GlobalKnownHostsFile /dev/null\n"
        )

    def trace(self):
        """From now on have a copy of every message that is published or delivered."""
        self.node.control("trace_on", "-p", self.vhost)
        self.node.api("PUT", f"queues/{self.vhost}/copies", {"durable": True})
        self.node.api(
            "POST", f"bindings/{self.vhost}/e/amq.rabbitmq.trace/q/copies", {"routing_key": "#", "arguments": {}}
        )

    def messages(self):
        """The copies, with their properties."""
        wanted = {"count": 1_000_000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        return self.node.api("POST", f"queues/{self.vhost}/copies/get", wanted)


@pytest.fixture
def lab(tmp_path):
    require_sshd()
    with (
        require(tmp_path / "broker", private=True) as node,
        native_server() as server,
        open_farm(tmp_path / "farm", ["alpha"]) as farm,
    ):
        lab = Lab(node, server, farm["alpha"], tmp_path)
        lab.make_key()
        yield lab
        for line in lab.lines:
            line.close()


@pytest.mark.parametrize("where", ["arguments", "environment"])
def test_the_watch_finds_a_child_that_is_given_a_secret(where):
    given = ["sh", "-c", "read _", *([WORK] if where == "arguments" else [])]
    environ = {**os.environ, MARK: "1", **({"LAB_BROKER": WORK} if where == "environment" else {})}
    watch = Watch()
    watch.start()
    with subprocess.Popen(given, env=environ, stdin=subprocess.PIPE) as child:
        try:
            wait_until(lambda: watch.found, "the watch finds it")
        finally:
            child.kill()
    watch.end()
    assert watch.found == {(WORK, where, b"".join(word.encode() + b"\0" for word in given))}


def test_a_fleet_with_planted_secrets_keeps_them(lab):
    files = {name: lab.folder / f"{name}.secret" for name in ("lead", "oper", "store")}
    for name, secret in (("lead", LEAD), ("oper", OPER), ("store", STORE)):
        files[name].write_text(secret + "\n")
    of_store = f'store = "{lab.store()}"\nstore_password = {{file = "{files["store"]}"}}\n'
    lead = lab.part("lead", True, f'{of_store}broker_password = {{command = "cat {files["lead"]}"}}')
    work = lab.part("work", True, 'broker_password = {env = "LAB_BROKER"}', LAB_BROKER=WORK, KEY_PASSPHRASE=PASSPHRASE)
    oper = lab.part("oper", True, f'{of_store}broker_password = {{file = "{files["oper"]}"}}')
    client = lab.part("client", False, WLMCTL_STORE=lab.store(f":{STORE}"))
    client.write("experiment.yaml", EXPERIMENT)
    lab.trace()
    watch = Watch()
    watch.start()
    leading = lead.start("-vv", "orchestrator")
    working = [work.start("-vv", "worker", "--name", name) for name in ("one", "two")]

    said = []
    id_ = client.run("submit", "experiment.yaml").stdout.strip()
    said.append(client.run("wait", id_, "--timeout", "90", code=None))
    states = {name: task["state"] for name, task in client.tasks(id_).items()}
    logs = [path.read_text()[-3000:] for line in (lead, work) for path in line.folder.glob("started-*.err")]
    assert states == {
        **dict.fromkeys(("here", "bring", "there", "setup"), "succeeded"),
        **dict.fromkeys(("failing", "missing"), "failed"),
    }, "\n".join(logs)

    messages = lab.messages()
    # what goes wrong is said, and says no more
    lab.node.kill()
    wait_until(lambda: all("lost the broker" in work.said(worker) for worker in working), "workers have noticed", 30)
    lab.node.start()
    said.append(oper.run("queue", "list"))
    wrong = lab.part("wrong", True, 'broker_password = {env = "LAB_BROKER"}', LAB_BROKER=f"{WORK}-not")
    said.append(wrong.run("worker", code=4))
    for line in (lead, oper, work):
        said.append(line.run("doctor", code=None))
        said.append(line.run("doctor", "--config", code=None))
    for worker in working:
        worker.terminate()
    assert [worker.wait(60) for worker in working] == [0, 0]
    leading.terminate()
    assert leading.wait(60) == 0
    watch.end()

    assert watch.children, "children were seen"
    assert watch.found == set()
    assert {"wlm.results", "wlm.work", "wlm.control"} <= {
        message["properties"]["headers"]["exchange_name"] for message in messages
    }
    assert held(json.dumps(messages).encode()) == set()
    rows = [row for name in tables() for row in lab.server.execute(f"SELECT * FROM {name}", "store")]
    assert any(b"PATH=" in bytes(cell) for row in rows for cell in row if isinstance(cell, (bytes, memoryview)))
    cells = [
        bytes(cell) if isinstance(cell, (bytes, memoryview)) else str(cell).encode() for row in rows for cell in row
    ]
    assert held(b"\n".join(cells)) == set()
    for done in said:
        assert held((done.stdout + done.stderr).encode()) == set(), done.args
    written = [
        path
        for path in lab.folder.rglob("*")
        if path.is_file() and path not in files.values() and "mnesia" not in path.parts
    ]
    assert any(path.name == "stdout" for path in written)
    for path in written:
        assert held(path.read_bytes()) == set(), path
