#!/usr/bin/env python3
"""The commands of OpenPBS, Torque and LSF as far as wlmctl calls them, on a state folder, with jobs that really run.

It is started under the name of a command, in the folder ``bin`` beside the file ``state.json``; the file ``dialect``
there says which system it is. A file ``down`` makes every command fail as when the server is away, ``cut`` ends a
listing in the middle; ``closed`` lets no job start. Texts and exit codes are those of the recorded outputs in
``tests/data/queues``.
"""

from __future__ import annotations

import fcntl
import getopt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(sys.argv[0]).resolve().parent if Path(sys.argv[0]).name == "queue_program.py" else Path(sys.argv[0]).parent
STATE = HERE.parent
DIALECT = (STATE / "dialect").read_text().strip()
USER = os.environ.get("USER") or "root"
HOST = "pbs01"
KILL_DELAY_S = 2.0
Job = dict[str, Any]


@contextmanager
def jobs() -> Iterator[dict[str, Job]]:
    """All jobs by number, changed under a lock."""
    with open(STATE / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = STATE / "state.json"
        known: dict[str, Job] = json.loads(path.read_text()) if path.exists() else {}
        yield known
        path.with_suffix(".new").write_text(json.dumps(known))
        path.with_suffix(".new").replace(path)


def fail(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def make(name: str, script: str, folder: str, walltime_s: float | None, **more: str) -> str:
    """A new job, held; its number."""
    with jobs() as known:
        number = str(max(map(int, known), default=0) + 1)
        (STATE / f"{number}.sh").write_text(script)
        known[number] = {"name": name, "state": "held", "folder": folder, "walltime_s": walltime_s, **more}
    return number


def release(number: str) -> bool:
    with jobs() as known:
        job = known.get(number)
        if job is None or job["state"] != "held":
            return job is not None
        job["state"] = "waiting"
    if not (STATE / "closed").exists():
        command = [sys.executable, sys.argv[0], "run", number]
        quiet = subprocess.DEVNULL
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, cwd="/")
    return True


def remove(number: str) -> str:
    """What became of it: unknown, over, removed or doomed."""
    with jobs() as known:
        job = known.get(number)
        if job is None:
            return "unknown"
        if job["state"] == "over":
            return "over"
        job["deleted"] = True
        if job["state"] == "running":
            return "doomed"
        job.update(state="over", how="deleted", code=271)
        return "removed"


def run(number: str) -> int:
    """One job, from its start to its end; started by its release."""
    with jobs() as known:
        job = known[number]
        if job["state"] != "waiting":
            return 0
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "USER", "WLM_QUEUE") if key in os.environ}
        own = {"LSB_JOBID": number} if DIALECT == "lsf" else {"PBS_JOBID": f"{number}.{HOST}", "PBS_ENVIRONMENT": "1"}
        # a PBS gives the script to the shell on stdin, as LSF gives its name
        file = STATE / f"{number}.sh"
        given = {"stdin": file.open("rb")} if DIALECT != "lsf" else {"stdin": subprocess.DEVNULL}
        command = ["/bin/sh", *([str(file)] if DIALECT == "lsf" else [])]
        process = subprocess.Popen(
            command, env={**kept, **own}, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, **given,
        )  # fmt: skip
        job.update(state="running", pid=process.pid)
    begun, told, how = time.monotonic(), 0.0, ""
    while process.poll() is None:
        time.sleep(0.02)
        with jobs() as known:
            deleted = known[number].get("deleted")
        over = job["walltime_s"] is not None and time.monotonic() - begun > job["walltime_s"]
        if not told and (deleted or over):
            told, how = time.monotonic(), "deleted" if deleted else "walltime"
            send(process.pid, signal.SIGTERM)
        if told and time.monotonic() - told > KILL_DELAY_S:
            send(process.pid, signal.SIGKILL)
    code = process.returncode
    with jobs() as known:
        known[number].update(state="over", how=how, code=code if code >= 0 else 256 - code)
    return 0


def send(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def seconds(text: str) -> float:
    """``01:02:03``, or minutes as LSF has them."""
    parts = [float(part) for part in text.split(":")]
    return parts[0] * 60 if len(parts) == 1 else parts[-3] * 3600 + parts[-2] * 60 + parts[-1]


# PBS: what is unlike in Torque says so


def number_of(text: str) -> str:
    return text.partition(".")[0]


def is_listed(job: Job) -> bool:
    return DIALECT == "torque" or job["state"] != "over"


def qsub(arguments: list[str]) -> int:
    options, rest = getopt.gnu_getopt(arguments, "hr:m:N:S:o:e:l:q:A:P:W:v:")
    values = dict(options)
    assert {"-r", "-h"} <= set(values), "held, and never run again"
    limits = [value for option, value in options if option == "-l"]
    nodes = "nodes=" if DIALECT == "torque" else "select="
    if not any(value.startswith(nodes) for value in limits):
        return fail("qsub: Unknown resource", 170)
    if values.get("-q") == "nowhere":
        return fail("qsub: Unknown queue", 170)
    walltime = next(
        (seconds(value.removeprefix("walltime=")) for value in limits if value.startswith("walltime=")), None
    )
    script, variables = Path(rest[0]).read_text(), values.get("-v", "")
    print(f"{make(values['-N'], script, os.getcwd(), walltime, variables=variables)}.{HOST}")
    return 0


def qselect(arguments: list[str]) -> int:
    with jobs() as known:
        for number, job in known.items():
            if is_listed(job):
                print(f"{number}.{HOST}")
    return 0


def qstat(arguments: list[str]) -> int:
    options, rest = getopt.gnu_getopt(arguments, "xfu:", ["version"])
    if ("--version", "") in options:
        print("Version: 6.1.3" if DIALECT == "torque" else "pbs_version = 23.06.06", file=sys.stderr)
        return 0
    history, code = ("-x", "") in options, 0
    with jobs() as known:
        found = {number_of(text): known.get(number_of(text)) for text in rest}
    for number, job in found.items():
        if job is None:
            error = " Error" if DIALECT == "torque" else ""
            code = fail(f"qstat: Unknown Job Id{error} {number}.{HOST}", 153)
        elif not is_listed(job) and not history:
            text = f"qstat: {number}.{HOST} Job has finished, use -x or -H to obtain historical job information"
            code = fail(text, 35)
        else:
            text = long_text(number, job)
            print(text[: len(text) // 2] if (STATE / "cut").exists() else text)
            if (STATE / "cut").exists():
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
    return code


def long_text(number: str, job: Job) -> str:
    over = job["state"] == "over"
    letter = {"held": "H", "waiting": "Q", "running": "R", "over": "C" if DIALECT == "torque" else "F"}[job["state"]]
    lines = {
        "Job_Name": job["name"],
        "Job_Owner": f"{USER}@{HOST}",
        "job_state": letter,
        "queue": "workq",
        **({"exec_host": f"{HOST}/0"} if "pid" in job else {}),
        "Hold_Types": "u" if letter == "H" else "n",
        "substate": ("91" if job.get("how") == "deleted" else "92") if over else "42",
        "Variable_List": f"PBS_O_HOME=/root,PBS_O_WORKDIR={job['folder']},PBS_O_QUEUE=workq,{job['variables']}".rstrip(
            ","
        ),
        "comment": "Not Running: Queue not started." if letter == "Q" else f"Job run on ({HOST}:ncpus=1)\n",
    }
    if over:
        limit = -11 if DIALECT == "torque" else -29
        name = "exit_status" if DIALECT == "torque" else "Exit_status"
        lines[name] = str(limit if job.get("how") == "walltime" else job["code"])
    return "\n".join(
        [f"Job Id: {number}.{HOST}", *(folded(f"    {key} = {value}") for key, value in lines.items()), ""]
    )


def folded(line: str) -> str:
    """As qstat does it: at 79 characters, and a tab before what follows."""
    return "\n\t".join([line[:79], *(line[at : at + 71] for at in range(79, len(line), 71))])


def qrls(arguments: list[str]) -> int:
    _, rest = getopt.gnu_getopt(arguments, "h:")
    return max([0 if release(number_of(text)) else fail(f"qrls: Unknown Job Id {text}", 153) for text in rest])


def qdel(arguments: list[str]) -> int:
    code = 0
    for text in arguments:
        if remove(number_of(text)) in ("unknown", "over"):
            code = fail(f"qdel: Unknown Job Id {text}", 153)
    return code


def pbsnodes(arguments: list[str]) -> int:
    if DIALECT == "torque":
        print("n1\n     state = free\n     np = 8\n     status = opsys=linux,physmem=65840kb\n     gpus = 2\n")
    else:
        print(f"{HOST}\n     state = free\n     resources_available.mem = 24gb\n     resources_available.ncpus = 8\n")
    return 0


# LSF


def bsub(arguments: list[str]) -> int:
    values, take = {}, iter(arguments)
    for option in take:
        values[option] = "" if option in ("-H", "-rn") else next(take)
    assert {"-H", "-rn"} <= set(values), "held, and never run again"
    if values.get("-q") == "nowhere":
        return fail("nowhere: No such queue. Job not submitted.", 255)
    walltime = seconds(values["-W"]) if "-W" in values else None
    number = make(values["-J"], sys.stdin.read(), os.getcwd(), walltime, description=values["-Jd"])
    print(f"Job <{number}> is submitted to default queue <normal>.")
    return 0


def bjobs(arguments: list[str]) -> int:
    with jobs() as known:
        rows = [lsf_row(number, job) for number, job in known.items()]
    if not rows:
        return fail("No job found", 255)
    text = "\n".join(rows)
    if (STATE / "cut").exists():
        sys.stdout.write(text[: len(text) // 2])
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    print(text)
    return 0


def lsf_row(number: str, job: Job) -> str:
    ended = {
        "deleted": "TERM_OWNER: job killed by owner",
        "walltime": "TERM_RUNLIMIT: job killed after reaching LSF run time limit",
    }
    state = {"held": "PSUSP", "waiting": "PEND", "running": "RUN"}.get(job["state"]) or (
        "EXIT" if job["code"] else "DONE"
    )
    host = "n1" if "pid" in job else "-"
    waits = "New job is waiting for scheduling" if state == "PEND" else "-"
    why = ended.get(job.get("how", ""), "-") if state == "EXIT" else "-"
    return f"{number}|{state}|{job['name']}|{host}|{job['description']}|{waits}|{why}"


def bresume(arguments: list[str]) -> int:
    return max([0 if release(text) else fail(f"Job <{text}>: No matching job found", 255) for text in arguments])


def bkill(arguments: list[str]) -> int:
    code = 0
    for text in arguments:
        what = remove(text)
        if what in ("unknown", "over"):
            said = "No matching job found" if what == "unknown" else "Job has already finished"
            code = fail(f"Job <{text}>: {said}", 255)
        else:
            print(f"Job <{text}> is being terminated")
    return code


def lshosts(arguments: list[str]) -> int:
    print("HOST_NAME type model cpuf ncpus maxmem maxswp server RESOURCES\nn1 X86_64 Intel 60.0 8 31.2G 4G Yes (mg)")
    return 0


COMMANDS = {
    command.__name__: command
    for command in (qsub, qselect, qstat, qrls, qdel, pbsnodes, bsub, bjobs, bresume, bkill, lshosts)
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        sys.exit(run(sys.argv[2]))
    if (STATE / "down").exists():
        lsf, pbs = (
            "LSF is down. Please wait ...",
            "Connection refused\nqstat: cannot connect to server pbs01 (errno=111)",
        )
        sys.exit(fail(lsf, 255) if DIALECT == "lsf" else fail(pbs, 255))
    sys.exit(COMMANDS[Path(sys.argv[0]).name](sys.argv[1:]))
