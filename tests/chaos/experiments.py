"""What is run in a round: 300 tasks of every kind in three experiments, and how each must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

#: The machines, each of which has a file ``witness`` of its own.
MACHINES = ("alpha", "beta", "local")

#: The label of those to which roles are bound that are open, and whose jobs have a witness of their own.
EITHER = "either"

#: Seconds until what is of low priority may start: it is found urgent before that.
GATE_S = 8


@dataclass(frozen=True, slots=True)
class Written:
    """An experiment file. ``ends``: for each task of the file, the final states its instances may have."""

    path: Path
    tasks: int
    ends: Mapping[str, tuple[str, ...]]


class Experiments:
    """Writes the files of one round into ``folder``; ``size`` 1.0 makes 300 tasks in all. They sleep ``pace`` times as
    long as in a full round."""

    def __init__(self, folder: Path, chance: Random, *, size: float = 1.0, pace: float = 1.0) -> None:
        self._folder, self._chance, self._size, self._pace = folder, chance, size, pace
        (folder / "data").mkdir()
        for number in range(8):
            (folder / "data" / f"points-{number}.csv").write_bytes(
                chance.randbytes(chance.choice([100, 5_000, 300_000]))
            )

    def _some(self, count: int) -> int:
        return max(2, round(count * self._size))

    def _say(self, machine: str) -> str:
        """The shell text that is a job's witness: one line an attempt, appended in one write."""
        return f'echo "$WLMCTL_EXPERIMENT $WLMCTL_TASK $WLMCTL_ATTEMPT" >> {self._folder}/witness-{machine}'

    def main(self) -> Written:
        """Everything: environments, stages there and back and across, jobs that fail, are tried again, are skipped, and
        such as go to either machine.
        """
        chance, lines, ends = self._chance, ["name: main", "tasks:"], dict[str, tuple[str, ...]]()
        sims = {"alpha": self._some(30), "beta": self._some(24), "local": self._some(49)}
        for machine in MACHINES:
            long_s = chance.choice([0, 0, 1, 5]) * self._pace
            lines += [
                f"  setup-{machine}:", "    type: environment", f"    machine: {machine}", "    directories: [work]",
                "    files: {tool: {content: 'echo tool'}}", f"    commands: ['sleep {long_s}; pwd > where']",
            ]  # fmt: skip
            ends[f"setup-{machine}"] = ("succeeded",)
        for machine in ("alpha", "beta"):
            lines += [
                f"  data-{machine}:", "    type: stage", f"    needs: [setup-{machine}]", "    from: local:data/",
                f"    to: {machine}:data/",
            ]  # fmt: skip
            ends[f"data-{machine}"] = ("succeeded",)
        for machine, count in sims.items():
            needs = f"setup-{machine}" if machine == "local" else f"data-{machine}"
            seconds = f"{chance.uniform(0.0, 0.6) * self._pace:.2f}"
            lines += [
                f"  sim-{machine}:", "    type: job", f"    machine: {machine}", f"    needs: [{needs}]",
                "    directory: work", f"    foreach: {{n: 1..{count}}}",
                f"    command: '{self._say(machine)}; sleep {seconds}; echo ${{n}} > out-${{n}}'",
            ]  # fmt: skip
            ends[f"sim-{machine}"] = ("succeeded",)
        for machine in ("alpha", "beta"):
            lines += [
                f"  back-{machine}:", "    type: stage", f"    foreach: {{n: 1..{sims[machine]}}}",
                f"    needs: ['sim-{machine}[${{n}}]']", f"    from: {machine}:work/out-${{n}}",
                f"    to: local:results/{machine}/",
            ]  # fmt: skip
            ends[f"back-{machine}"] = ("succeeded",)
        lines += ["  across:", "    type: stage", "    needs: [data-alpha, setup-beta]", "    from: alpha:data/",
                  "    to: beta:from-alpha/"]  # fmt: skip
        ends["across"] = ("succeeded",)
        self._failing(lines, ends)
        self._roaming(lines, ends)
        path = self._folder / "main.yaml"
        path.write_text("\n".join(lines) + "\n")
        return Written(path, _tasks(lines), ends)

    def _roaming(self, lines: list[str], ends: dict[str, tuple[str, ...]]) -> None:
        each = f"    foreach: {{n: 1..{self._some(8)}}}"
        lines.insert(1, f"machines: {{{EITHER}: {{requires: {{labels: [{EITHER}]}}, each: n}}}}")
        lines += [
            "  there:", "    type: stage", each, "    from: local:data/", f"    to: {EITHER}:there-${{n}}/",
            "  roam:", "    type: job", f"    machine: {EITHER}", "    needs: ['there[${n}]']", each,
            f"    command: '{self._say(EITHER)}; sleep {self._pace:.1f}; ls there-${{n}} > there-${{n}}/out'",
            "  home:", "    type: stage", "    needs: ['roam[${n}]']", each,
            f"    from: {EITHER}:there-${{n}}/out", "    to: local:results/either/${n}",
        ]  # fmt: skip
        ends |= dict.fromkeys(("there", "roam", "home"), ("succeeded",))

    def _failing(self, lines: list[str], ends: dict[str, tuple[str, ...]]) -> None:
        for machine in ("alpha", "local"):
            lines += [
                f"  again-{machine}:", "    type: job", f"    machine: {machine}", f"    needs: [setup-{machine}]",
                f"    foreach: {{n: 1..{self._some(8)}}}",
                # fails once, whichever attempt that is
                f"    command: '{self._say(machine)}; mkdir tried-$WLMCTL_TASK || exit 0; exit 3'",
                "    retry: {limit: 2, delay: 1s}",
            ]  # fmt: skip
            ends[f"again-{machine}"] = ("succeeded",)
        count = self._some(8)
        lines += [
            "  fails:", "    type: job", f"    foreach: {{n: 1..{count}}}", "    may_fail: true",
            f"    command: '{self._say('local')}; exit 4'",
            "  skipped:", "    type: job", f"    foreach: {{n: 1..{count}}}", "    needs: ['fails[${n}]']",
            f"    command: '{self._say('local')}'",
            "  anyway:", "    type: job", "    needs: [{fails: ended}]", f"    command: '{self._say('local')}'",
        ]  # fmt: skip
        ends |= {"fails": ("failed",), "skipped": ("skipped",), "anyway": ("succeeded",)}
        for number in range(10):
            needs = f"chain-{number - 1}" if number else "setup-local"
            seconds = f"{self._chance.uniform(0, 2) * self._pace:.1f}"
            lines += [
                f"  chain-{number}:", "    type: job", f"    needs: [{needs}]",
                f"    command: '{self._say('local')}; sleep {seconds}'",
            ]  # fmt: skip
            ends[f"chain-{number}"] = ("succeeded",)

    def late(self) -> Written:
        """Jobs of low priority, which somebody finds urgent before the gate opens."""
        count = self._some(40) - 1
        text = (
            "name: late\npriority: low\ntasks:\n"
            f"  gate: {{type: job, command: '{self._say('local')}; sleep {GATE_S * self._pace}'}}\n"
            f"  quick:\n    type: job\n    needs: [gate]\n    foreach: {{n: 1..{count}}}\n"
            f"    command: '{self._say('local')}; sleep 0.1'\n"
        )
        (self._folder / "late.yaml").write_text(text)
        return Written(self._folder / "late.yaml", count + 1, {"gate": ("succeeded",), "quick": ("succeeded",)})

    def doomed(self) -> Written:
        """Long jobs and what would follow them: somebody cancels it."""
        count = self._some(10)
        lines = ["name: doomed", "tasks:"]
        for machine in ("beta", "local"):
            lines += [
                f"  long-{machine}:", "    type: job", f"    machine: {machine}", f"    foreach: {{n: 1..{count}}}",
                f"    command: '{self._say(machine)}; sleep 600'",
                f"  never-{machine}:", "    type: stage", f"    foreach: {{n: 1..{count // 2}}}",
                f"    needs: ['long-{machine}']", f"    from: {machine}:x-${{n}}", "    to: local:y/",
            ]  # fmt: skip
        (self._folder / "doomed.yaml").write_text("\n".join(lines) + "\n")
        ends = {f"{kind}-{machine}": ("cancelled",) for kind in ("long", "never") for machine in ("beta", "local")}
        return Written(self._folder / "doomed.yaml", _tasks(lines), ends)


def _tasks(lines: list[str]) -> int:
    """How many tasks the lines of a file make: instances count, else the task itself."""
    total = sum(1 for line in lines if line.startswith("  ") and line[2] != " ")
    for line in lines:
        if "foreach" in line:
            total += int(line.partition("..")[2].rstrip("}")) - 1
    return total
