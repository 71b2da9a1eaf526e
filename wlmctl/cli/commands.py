"""Every command: where its code is, and its line in ``wlmctl --help``, which imports none of them."""

from __future__ import annotations

from collections.abc import Mapping

#: Command -> (module:attribute, help line), in the order in which ``--help`` shows them.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("wlmctl.cli.run:run", "Run an experiment here, to its end."),
    "plan": ("wlmctl.cli.plan:plan", "Show what would happen, checked on the machines."),
    "validate": ("wlmctl.cli.validate:validate", "Check an experiment file."),
    "schema": ("wlmctl.cli.validate:schema", "Print the JSON Schema of the experiment file."),
    "submit": ("wlmctl.cli.submit:submit", "Hand an experiment to an orchestrator; prints its id."),
    "worker": ("wlmctl.cli.worker:worker", "Execute tasks that come over RabbitMQ; list and drain workers."),
    "orchestrator": ("wlmctl.cli.orchestrator:orchestrator", "Work on submitted experiments until stopped."),
    "status": ("wlmctl.cli.status:status", "List experiments, or show one with its tasks."),
    "wait": ("wlmctl.cli.wait:wait", "Wait until experiments have ended."),
    "logs": ("wlmctl.cli.logs:logs", "Show what tasks printed."),
    "events": ("wlmctl.cli.events:events", "Show the log of everything that happened."),
    "explain": ("wlmctl.cli.explain:explain", "Say why a task waits, or stands where it does."),
    "cancel": ("wlmctl.cli.control:cancel", "Cancel experiments, with their jobs."),
    "pause": ("wlmctl.cli.control:pause", "Start nothing new; what runs goes on."),
    "resume": ("wlmctl.cli.control:resume", "End a pause, or go on with an interrupted run."),
    "retry": ("wlmctl.cli.retry:retry", "Give failed, cancelled and skipped tasks a new attempt."),
    "priority": ("wlmctl.cli.control:priority", "Change an experiment's priority."),
    "clean": ("wlmctl.cli.clean:clean", "Remove the folders of ended experiments."),
    "copy": ("wlmctl.cli.copy:copy", "Copy files between any two machines."),
    "machine": ("wlmctl.cli.machine:machine", "List, test, trust and hold machines."),
    "orphans": ("wlmctl.cli.orphans:orphans", "List what was left on machines and no experiment speaks for."),
    "queue": ("wlmctl.cli.queue:queue", "Look after the queues at the broker."),
    "simulate": ("wlmctl.cli.simulate:simulate", "Try schedulers on a trace, or on the own past."),
    "plugin": ("wlmctl.cli.plugin:plugin", "List and show plugins."),
    "doctor": ("wlmctl.cli.doctor:doctor", "Check this installation and its settings."),
    "db": ("wlmctl.cli.db:db", "Bring the store up to date, check it, copy it."),
    "completion": ("wlmctl.cli.completion:completion", "Print the completion script of a shell."),
}  # fmt: skip

#: Commands of later work: known, and refused as such whatever their arguments.
RESERVED = ("watch", "report", "graph")
