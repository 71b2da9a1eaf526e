"""Each task against its type: own keys, common keys, the machines it names and the files it carries."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wlmctl.errors import InvalidFile, PluginError, SpecError
from wlmctl.experiment.common import parse_common
from wlmctl.experiment.fields import line_of
from wlmctl.experiment.instances import Instances, TaskTypes
from wlmctl.experiment.mistakes import Mistakes, quoted
from wlmctl.experiment.model import Role, Template
from wlmctl.experiment.removal import NEUTRAL, neutral
from wlmctl.experiment.roles import role_mistake
from wlmctl.experiment.source import read_regular_file
from wlmctl.experiment.tasks import OWN_KEYS, Draft
from wlmctl.experiment.typekeys import known_keys
from wlmctl.spec import has_placeholder
from wlmctl.suggest import did_you_mean
from wlmctl.task import Carries, TaskType

#: So many instances of a task are parsed at submit; the type looks at the values of later ones when they start.
MOST_PARSED = 2000

#: So many mistakes of one task's own keys are looked for, one after the other.
MOST_SPEC_ERRORS = 25

MAX_CARRIED_BYTES = 1 << 20
MAX_ALL_CARRIED_BYTES = 8 << 20


#: Raises ``SpecError`` for what the type takes and somebody else would not.
SpecCheck = Callable[[TaskType, Any], None]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A spec, None where there is none; ``is_right`` False: something of the text had to be put aside."""

    value: Any
    is_right: bool


class TypeCheck:
    """Checks drafts against their types; ``files`` is what they carry, by the text that names it."""

    def __init__(
        self,
        task_type: TaskTypes,
        roles: Mapping[str, Role],
        machines: Collection[str] | None,
        folder: str,
        mistakes: Mistakes,
        counters: Mapping[str, int] | None = None,
        check: SpecCheck | None = None,
    ) -> None:
        self._spec_check = check
        self._task_type, self._roles, self._machines = task_type, roles, machines
        self._counters = counters
        self._folder, self._folder_path, self._mistakes = folder, Path(folder), mistakes
        self._kinds: dict[str, TaskType | str] = {}
        self._keys: dict[str, Collection[str] | None] = {}
        self._carries: dict[str, Carries | None] = {}
        self.files: dict[str, bytes] = {}
        #: The names of roles and machines that the tasks use.
        self.roles: set[str] = set()
        self._unreadable: set[str] = set()

    def check(self, draft: Draft, template: Template) -> None:
        """Note what does not fit."""
        kind = self._kind(draft)
        text = template.text
        if kind is not None:
            text = self._known_only(draft, kind, text)
        if draft.keys is None:
            # The values are not known, so nothing can be put in: what stands for them is accepted wherever text is.
            self._gathered(draft, parse_common, template.common)
            if kind is not None:
                self._gathered(draft, lambda mapping: kind.parse(mapping, self._folder_path), text)
            return
        if text is not template.text:
            template = replace(template, text=text)
        instances = Instances(template, self._task_type, self._folder_path)
        self._check_common(draft, instances)
        if kind is not None:
            self._check_own(draft, kind, instances)

    def _kind(self, draft: Draft) -> TaskType | None:
        if draft.type is None:
            return None
        if draft.type not in self._kinds:
            try:
                looked_up = self._task_type(draft.type)
                self._kinds[draft.type] = looked_up
                self._carries[draft.type] = looked_up if isinstance(looked_up, Carries) else None
            except PluginError as error:
                self._kinds[draft.type] = str(error)
        kind = self._kinds[draft.type]
        if isinstance(kind, str):
            draft.fields.wrong("type", kind, "")
            return None
        return kind

    def _known_only(self, draft: Draft, kind: TaskType, text: Mapping[str, Any]) -> Mapping[str, Any]:
        """The keys that the type knows; a stranger may be a misspelt key of the core, which the type cannot tell."""
        if draft.type not in self._keys:
            self._keys[draft.type or ""] = known_keys(kind)
        known = self._keys[draft.type or ""]
        if known is None or text.keys() <= set(known):
            return text
        for key in text.keys() - set(known):
            hint = did_you_mean(key[:60], [*known, *OWN_KEYS])
            draft.fields.wrong(
                key, f"unknown key of a {draft.type} task", f"one of {', '.join([*known, *OWN_KEYS])}", hint
            )
        return {key: value for key, value in text.items() if key in known}

    def _check_common(self, draft: Draft, instances: Instances) -> None:
        common = instances.template.common
        for position in instances.distinct(common):
            filled = instances.common_text(position)
            name = "" if filled is common else instances.template.instance_name(position)
            parsed = self._gathered(draft, parse_common, filled, name)
            if not parsed.is_right or not self._has_counters(draft, parsed.value.counters):
                return

    def _has_counters(self, draft: Draft, wanted: Sequence[tuple[str, int]]) -> bool:
        """True when there are such counters, with that much at least."""
        wrong = [
            (name, amount)
            for name, amount in wanted
            if self._counters is not None and amount > self._counters.get(name, 0)
        ]
        for name, amount in wrong:
            key = f"resources.counters.{name}"
            line = line_of(draft.fields.node, key) or draft.fields.node.line
            known = self._counters or {}
            if name in known:
                told = f"found {amount}", f"at most {known[name]}, which is all that there is ([counters])", ""
            else:
                there = f"one of {', '.join(known)}" if known else "a counter of the configuration ([counters])"
                told = "no such counter", there, did_you_mean(name, known)
            self._mistakes.add(line, draft.fields.key(key), *told)
        return not wrong

    def _check_own(self, draft: Draft, kind: TaskType, instances: Instances) -> None:
        folder = self._folder_path
        carries = self._carries[draft.type or ""]
        most = self._most_parsed(carries, instances)
        positions = instances.distinct(instances.template.text)
        roles: dict[str, None] = {}

        def parse(mapping: Mapping[str, Any]) -> Any:
            spec = kind.parse(mapping, folder)
            if self._spec_check is not None:
                self._spec_check(kind, spec)
            return spec

        for position in itertools.islice(positions, most):
            text = instances.text(position)
            name = "" if text is instances.template.text else instances.template.instance_name(position)
            parsed = self._gathered(draft, parse, text, name)
            if parsed.value is not None:
                roles.update(dict.fromkeys(kind.machines(parsed.value)))
                for file in carries.files(parsed.value) if carries is not None else ():
                    if NEUTRAL not in file:
                        self._carry(draft, file)
            if not parsed.is_right:
                break
        self.roles.update(roles)
        for role in roles:
            if NEUTRAL not in role:
                self._check_role(draft, role)

    def _most_parsed(self, carries: Carries | None, instances: Instances) -> int | None:
        """How many instances are parsed now, None for all: all where machines or files depend on values."""
        if len(instances.template.rows) <= MOST_PARSED or instances.constant_roles() is None:
            return None
        return MOST_PARSED if carries is None or self._has_constant_files(carries, instances) else None

    def _has_constant_files(self, carries: Carries, instances: Instances) -> bool:
        kind = self._task_type(instances.template.type)
        try:
            files = carries.files(kind.parse(instances.template.text, self._folder_path))
        except SpecError:
            return False
        return not any(map(has_placeholder, files))

    def _gathered(
        self, draft: Draft, parse: Callable[[Mapping[str, Any]], Any], mapping: Mapping[str, Any], name: str = ""
    ) -> Parsed:
        """What ``parse`` makes of ``mapping``; each of its mistakes is noted, by putting aside what was wrong."""
        where = f"in {name}" if "[" in name else ""
        wrong: list[str] = []
        for _ in range(MOST_SPEC_ERRORS):
            try:
                return Parsed(parse(mapping), is_right=not wrong)
            except SpecError as error:
                # What is said again of a key, or of what holds it, comes from what stands there now.
                if not any(f"{key}.".startswith((f"{error.key}.", f"{error.key}[")) for key in wrong):
                    line = line_of(draft.fields.node, error.key) or draft.fields.node.line
                    hint = "; ".join(filter(None, (error.hint, where)))
                    self._mistakes.add(line, draft.fields.key(error.key), error.found, error.expected, hint)
                    wrong.append(error.key)
                rest = neutral(mapping, error.key)
                if rest is None:
                    break
                mapping = rest
        return Parsed(None, is_right=False)

    def _check_role(self, draft: Draft, role: str) -> None:
        if has_placeholder(role):
            wrong = ("a machine that is known only at run time", "a role or machine", "")
        else:
            found = role_mistake(role, draft.keys or (), self._roles, self._machines)
            if found is None:
                return
            wrong = found
        line, key = self._place_of(draft, role)
        self._mistakes.add(line, key, *wrong)

    def _place_of(self, draft: Draft, name: str) -> tuple[int, str]:
        """The line and the dotted key where a task names a role or a file."""
        path = _where_named(draft.text, name)
        return line_of(draft.fields.node, path) or draft.fields.node.line, ".".join(
            filter(None, (draft.fields.path, path))
        )

    def _carry(self, draft: Draft, name: str) -> None:
        if name in self.files or name in self._unreadable:
            return
        line, key = self._place_of(draft, name)
        if has_placeholder(name):
            self._mistakes.add(line, key, "a file that is known only at run time", "a file that can be read at submit")
            return
        try:
            content = read_regular_file(os.path.join(self._folder, name), name, MAX_CARRIED_BYTES)
        except InvalidFile as error:
            self._unreadable.add(name)
            for mistake in error.mistakes:
                hint = "bring larger files by a stage task" if "larger" in mistake.found else mistake.hint
                self._mistakes.add(line, key, f"{quoted(name)}: {mistake.found}", mistake.expected, hint)
            return
        if sum(map(len, self.files.values())) + len(content) > MAX_ALL_CARRIED_BYTES:
            self._unreadable.add(name)
            found = f"{quoted(name)}: all files together are larger than {MAX_ALL_CARRIED_BYTES >> 20} MiB"
            self._mistakes.add(line, key, found, "", "bring larger files by a stage task")
            return
        self.files[name] = content


def _where_named(value: Any, name: str, path: str = "") -> str:
    """The dotted key of the first text that is ``name`` or an endpoint ``name:...``; empty when there is none."""
    if isinstance(value, str):
        return path if value == name or value.startswith(f"{name}:") else ""
    if isinstance(value, Mapping):
        entries = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list):
        entries = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return ""
    return next(filter(None, (_where_named(item, name, key) for key, item in entries)), "")
