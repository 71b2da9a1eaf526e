"""Submitting many jobs of one machine by one command: how it went with each is told for itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from wlmctl.batch import BatchJob, SubmitsMany
from wlmctl.errors import Broken, Cancelled, Unreachable
from wlmctl.jobs.talk import raise_if_away
from wlmctl.task import Deferred
from wlmctl.task_context import TaskContext
from wlmctl.transport import Transport
from wlmctl_task_job.making import batch_job, handle, with_shell
from wlmctl_task_job.spec import JobSpec

log = logging.getLogger(__name__)

#: Those that are submitted together, by number, and how it went with each.
_Members = Mapping[int, tuple[JobSpec, TaskContext]]
_Ends = dict[int, Deferred | Exception]


def submit(members: Sequence[tuple[JobSpec, TaskContext]], tries: int) -> list[Deferred | Exception]:
    """How the submit of each went; those whose submit breaks off are tried again, each time by a new connection."""
    ends: _Ends = {}
    broken: dict[int, Broken] = {}
    for _ in range(tries):
        left = {number: member for number, member in enumerate(members) if number not in ends}
        if not left:
            break
        for number, end in _try(left).items():
            if isinstance(end, Broken):
                broken[number] = end
            elif isinstance(end, Exception) and number in broken:
                ends[number] = broken[number]  # whatever it is, it would say that nothing was started
            else:
                ends[number] = end
    return [ends.get(number) or broken[number] for number in range(len(members))]


def _try(members: _Members) -> _Ends:
    """How one try went with each. Who waits for the connection may be told to stop: then the next one does."""
    ends: _Ends = {}
    for number, (spec, context) in members.items():
        if number in ends:
            continue
        try:
            with context.transport(spec.machine) as transport:
                _submit({key: member for key, member in members.items() if key not in ends}, transport, ends)
            break
        except Cancelled as error:
            ends[number] = error
        except Exception as error:  # of the machine, or of its batch system: it concerns all
            if isinstance(error, Broken):
                log.info("the submit of %d jobs broke off: %s", len(members), error)
            return {**dict.fromkeys(members, error), **ends}
    return ends


def _submit(members: _Members, transport: Transport, ends: _Ends) -> None:
    """One command for all; raises what concerns all who are not among ``ends`` then."""
    jobs, outputs = dict[str, BatchJob](), dict[str, dict[str, Any]]()
    # point 1: connected for many, nothing asked
    for number, (spec, context) in members.items():
        try:
            job, wanted = batch_job(spec, context, transport)
            context.check_cancelled()
        except (Broken, Unreachable):
            raise
        except Exception as error:  # a fault of one is no fault of another
            ends[number] = error
        else:
            jobs[f"{number}"], outputs[f"{number}"] = job, wanted
    if not jobs:
        return
    spec, context = members[int(next(iter(jobs)))]
    machine, batch = context.machine(spec.machine), cast("SubmitsMany", context.batch(spec.machine))
    command = batch.submit_many(jobs)
    # point 2: the command for many is about to run
    completed = with_shell(transport, machine).run(command.text, command.stdin, command.timeout_s)
    # point 3: answered for many, nothing told
    raise_if_away(batch, machine, completed)
    told = batch.submitted_many(jobs, completed)
    for key in jobs:
        ref = told.get(key) or Broken("the answer to its submit does not tell of it")
        ends[int(key)] = (
            ref if isinstance(ref, Exception) else Deferred(handle(ref, outputs[key]), started=not machine.has_queue)
        )
    for end in ends.values():
        if isinstance(end, Broken):
            raise end  # so that nothing more is asked over this connection
