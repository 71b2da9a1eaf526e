"""What is done inside the processes of the fleet: points become calls as code and texts are loaded, and kill.

A fault is a file ``armed/<task>@<point>`` whose content is the victim; who moves it to ``fired`` first strikes. So each
strikes once, and what has not been reached is still armed in the end. While there is a file ``spare`` the leader is
struck in place of a worker: a task that three workers have died of is given up, and should be.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from shlex import quote
from types import CodeType, ModuleType
from typing import Any

from tests.chaos.cluster.points import MODULES, OF_MANY, TEXTS, path_of

#: The environment variable that names the folder with the faults.
FOLDER = "WLM_TEST_FAULTS"

_POINT = re.compile(r"^( *)# point (\d+): .*$", re.MULTILINE)
_TEXTS = "wlmctl.jobs.texts"
_SELF = "tests.chaos.cluster.inside"

#: Points of a submit at which something is done for all its jobs, whose folders are f_0, f_1 and so on.
_FOR_ALL = tuple(f"submit.{number}" for number in (1, 2, 3, 8, 9, 10, 11, 12))

#: Put before each text that has points. $1 is the point, $2 the private folder of the job: .../<task>/<attempt>.
#: A pid counts only as long as it is that of the process that is meant, a connection only as one to our own sshd.
_SHELL = r"""wlm_kill() {
  grep -qsF -e "$2" "/proc/$1/environ" "/proc/$1/cmdline" && kill -KILL "$1"
}
wlm_point() {
  wlm_at=${2%%/*} wlm_faults=%(folder)s
  wlm_at=${wlm_at##*/}@$1
  [ -e "$wlm_faults/armed/$wlm_at" ] || return 0
  mv "$wlm_faults/armed/$wlm_at" "$wlm_faults/fired/$wlm_at" 2>/dev/null || return 0
  read -r wlm_victim <"$wlm_faults/fired/$wlm_at"
  [ "$wlm_victim" = worker ] && [ -e "$wlm_faults/spare" ] && wlm_victim=leader
  case $wlm_victim in
  shell) kill -KILL $$ ;;
  worker) wlm_kill %(worker)s "$wlm_faults" ;;
  leader) wlm_kill "$(cat "$wlm_faults/leader")" "$wlm_faults" ;;
  controller) wlm_kill "$(cat "$wlm_faults/controller")" slurmctld ;;
  requeue) scontrol update JobId=$SLURM_JOB_ID Requeue=1; scontrol requeue $SLURM_JOB_ID ;;
  connection)
    wlm_sshd=$(cat "$wlm_faults/sshd") wlm_pid=$$
    while [ "$wlm_pid" -gt 1 ]; do
      read -r _ _ _ wlm_parent _ <"/proc/$wlm_pid/stat" || break
      [ "$wlm_parent" = "$wlm_sshd" ] && break
      wlm_pid=$wlm_parent
    done
    if [ "$wlm_pid" -gt 1 ]; then kill -KILL "$wlm_pid"; else pkill -KILL -P "$wlm_sshd"; fi
    ;;
  esac 2>/dev/null
}
wlm_points() {
  wlm_number=0
  while [ $wlm_number -lt "$count" ]; do
    eval "wlm_point $1 \"\$f_$wlm_number\""
    wlm_number=$((wlm_number + 1))
  done
}
"""


def install() -> None:
    """Begin, as the first thing in a process; workers and the leader note their pids."""
    folder = Path(os.environ[FOLDER])
    if "orchestrator" in sys.orig_argv:
        (folder / "leader").write_text(f"{os.getpid()}\n")
    if "worker" in sys.orig_argv:
        (folder / "workers" / str(os.getpid())).touch()
    sys.meta_path.insert(0, _Finder())


class _Finder(PathFinder):
    """Finds the modules with points, to be loaded with them as calls."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in MODULES and fullname != _TEXTS:
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text("utf-8")
        if fullname == _TEXTS:
            text += f"\nimport {_SELF}\n_text = {_SELF}.armed_text(_text)\n"
        else:
            name = Path(self.path).stem
            text = _POINT.sub(rf'\1__import__("{_SELF}", fromlist=["it"]).reached("{name}.\2", locals())', text)
        return compile(text, self.path, "exec", dont_inherit=True)


def armed_text(read: Any) -> Any:
    """As ``wlmctl.jobs.texts._text``, of texts whose points are calls."""

    paths = {path.stem: path for path in map(path_of, TEXTS)}

    def text(folder: Path, name: str) -> str:
        if name not in paths:
            plain: str = read(folder, name)
            return plain
        called = _POINT.sub(lambda found: f"{found[1]}{_call(f'{name}.{found[2]}')}", paths[name].read_text("utf-8"))
        hook = _SHELL % {"folder": quote(os.environ[FOLDER]), "worker": os.getpid()}
        return hook + re.sub(r"^\s*#.*\n|^\n", "", called, flags=re.MULTILINE)

    return text


def _call(point: str) -> str:
    if point in _FOR_ALL:
        return f"wlm_points {point}"
    return f'wlm_point {point} "{"$PWD" if point.startswith("wrapper.") else "$folder"}"'


def reached(point: str, here: Mapping[str, Any]) -> None:
    """A point of the code: strike, where a fault is armed for a task that is there."""
    found = _led(here) if point.startswith("loop.") else ((task, "") for task in _tasks(here))
    point = OF_MANY.get(point, point)
    for task, kind in list(found):
        strike(f"{task}@{point}{kind}")


def strike(name: str) -> None:
    """What is armed under the name, once."""
    folder = Path(os.environ[FOLDER])
    try:
        os.rename(folder / "armed" / name, folder / "fired" / name)
    except FileNotFoundError:
        return
    victim = (folder / "fired" / name).read_text().strip()
    match "leader" if victim == "worker" and (folder / "spare").exists() else victim:
        case "worker" if "worker" in sys.orig_argv:
            os.kill(os.getpid(), signal.SIGKILL)
        case "worker":
            pids = sorted(int(path.name) for path in (folder / "workers").iterdir())
            living = [pid for pid in pids if _is(pid, str(folder))]
            _kill(living[len(name) % len(living)] if living else 0, str(folder))
        case "connection":
            sshd = int((folder / "sshd").read_text())
            for child in _children(sshd):
                _kill(child, "sshd")
        case other:
            _kill(int((folder / other).read_text()), "slurmctld" if other == "controller" else str(folder))


def _is(pid: int, word: str) -> bool:
    """True for a live process that has the word in its environment or command line."""
    with suppress(OSError):
        files = (Path(f"/proc/{pid}/{name}") for name in ("environ", "cmdline"))
        return any(word.encode() in file.read_bytes() for file in files)
    return False


def _kill(pid: int, word: str) -> None:
    if _is(pid, word):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _led(here: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The tasks that a transaction of the leader is about, and what it means for each."""
    loop, book = here["self"], here["book"]
    for letter in book.outbox:
        if type(letter.message).__name__ == "TaskMessage":
            yield letter.message.task, ".end" if letter.message.cancel else ".intent"
    for message in loop._inbox.messages:
        told = [(message.key, message.outcome)] if hasattr(message, "outcome") else ()
        for key, outcome in told or [(each.key, each.outcome) for each in getattr(message, "answers", ())]:
            if key.exp in loop.works and outcome.what in ("deferred", "done", "failed", "cancelled"):
                yield loop.works[key.exp].name(key.idx), ".deferral" if outcome.what == "deferred" else ".end"


def _tasks(value: Any, depth: int = 0) -> Iterator[str]:
    """The names of the tasks that the local variables of a worker's function are about."""
    match type(value).__name__:
        case "TaskMessage":
            yield value.task
        case "Dispatch" | "ExecutionContext" if not isinstance(value, type):
            yield value.message.task
        case "Deferral" if "job" in value.handle:
            yield value.handle["job"]["folder"].split("/")[-2]
        case "PollMessage":
            yield from _tasks(value.deferrals, depth)
        case _ if depth < 3 and isinstance(value, Mapping):
            for name, each in value.items():
                if name not in ("self", "left"):
                    yield from _tasks(each, depth + 1)
        case _ if depth < 3 and isinstance(value, list | tuple | deque):
            for each in value:
                yield from _tasks(each, depth + 1)
