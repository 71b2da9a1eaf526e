"""The run-time values that tasks use of one another: the task is there, gives that value, and ends before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wlmctl.experiment.mistakes import Mistakes, quoted
from wlmctl.experiment.model import Template
from wlmctl.experiment.needs import NeedResolution
from wlmctl.experiment.tasks import Draft, Use
from wlmctl.experiment.values import PARTNER
from wlmctl.graph import dependents, reachable
from wlmctl.suggest import did_you_mean

#: Types whose tasks give no folder; those of other distributions may.
WITHOUT_FOLDER = ("job", "stage")


class UseCheck:
    """Checks the run-time values of all drafts; ``templates`` None where a cycle makes "before" meaningless."""

    def __init__(
        self,
        drafts: Mapping[str, Draft],
        templates: Sequence[Template] | None,
        resolution: NeedResolution,
        mistakes: Mistakes,
    ) -> None:
        self._drafts, self._resolution, self._mistakes = drafts, resolution, mistakes
        self._dependents = None if templates is None else dependents(templates)
        self._behind: dict[str, set[str]] = {}

    def check(self, draft: Draft) -> None:
        """Note what ``draft`` cannot use."""
        for use in draft.uses:
            wrong = self._wrong(draft, use)
            if wrong is not None:
                self._mistakes.add(use.line, use.key, *wrong)

    def _wrong(self, draft: Draft, use: Use) -> tuple[str, str, str] | None:
        """What was found, expected, and to do; None where nothing is wrong."""
        reference = use.reference
        found = f"${{{reference}}}".replace(f"[{PARTNER}]", _brackets(draft.keys))
        target = self._drafts.get(reference.task)
        if target is None:
            return found, "a task of this file", did_you_mean(reference.task, self._drafts)
        if reference.kind == "folder" and target.type in WITHOUT_FOLDER:
            return found, f"the folder of an environment; {target.name} is a {target.type}", ""
        if reference.kind == "output":
            outputs = target.text.get("outputs")
            declared = list(outputs) if isinstance(outputs, Mapping) else []
            if reference.key not in declared:
                there = (
                    f"one of its outputs: {', '.join(declared)}" if declared else f"outputs declared in {target.name}"
                )
                return found, there, did_you_mean(reference.key, declared)
        if draft.keys is not None and target.keys is not None:
            wrong = self._wrong_instance(draft, target, use, found)
            if wrong is not None:
                return wrong
        if self._dependents is not None and draft.name not in self._reached(target.name):
            return found, f"a task that {draft.name} needs, directly or through others", f"add {target.name} to needs"
        return None

    def _wrong_instance(self, draft: Draft, target: Draft, use: Use, found: str) -> tuple[str, str, str] | None:
        label = use.reference.label
        rest = str(use.reference).rpartition(f"{target.name}.")[2] if label is None else ""
        if label is None:
            if not target.keys:
                return None
            own = f"${{tasks.{target.name}{_brackets(target.keys)}.{rest}}}"
            return found, f"{own} under the same foreach", f"{target.name} has {len(target.rows)} instances"
        if not target.keys:
            return found, f"tasks.{target.name} without brackets, since that task has no foreach", ""
        if label == PARTNER:
            is_same = draft.keys == target.keys and draft.rows == target.rows
            return None if is_same else (found, f"the same foreach in {draft.name} and {target.name}", "")
        if self._resolution.position(target.name, label) is None:
            return found, f"an instance of {target.name}", f"{quoted(label)} is none"
        return None

    def _reached(self, name: str) -> set[str]:
        if name not in self._behind:
            self._behind[name] = reachable(self._dependents or {}, [name])
        return self._behind[name]


def _brackets(keys: tuple[str, ...] | None) -> str:
    return f"[{','.join(f'${{{key}}}' for key in keys or ())}]"
