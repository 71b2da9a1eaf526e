"""A checked experiment as plain JSON values for the store, and back. The contents of its files are kept beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from wlmctl.experiment.model import Experiment, Need, Role, Schedule, Template
from wlmctl.machine import Requirement

VERSION = 1

#: Fields of ``Experiment`` that are plain already.
_PLAIN = (
    "name", "project", "priority", "start", "start_after_s", "max_running", "on_failure", "clean",
)  # fmt: skip

#: The same, of which a document has only those that are set: the digest of a file stays what it was before them.
_MAYBE = ("deadline", "deadline_after_s")


def to_document(experiment: Experiment) -> dict[str, Any]:
    """All of ``experiment`` but its files; ``from_document`` gives an equal one back, once they are put in."""
    return {
        "version": VERSION,
        **{name: getattr(experiment, name) for name in _PLAIN},
        "labels": list(experiment.labels),
        "params": dict(experiment.params),
        "folder": _text_to_json(experiment.folder),
        "roles": [_role_to_json(role) for role in experiment.roles.values()],
        "tasks": [_template_to_json(template) for template in experiment.templates],
        **{name: value for name in _MAYBE if (value := getattr(experiment, name)) is not None},
        # left out where there is none: the digest of a file stays what it was before there were series
        **({} if experiment.schedule is None else {"schedule": asdict(experiment.schedule)}),
    }


def from_document(document: Mapping[str, Any], files: Mapping[str, bytes] | None = None) -> Experiment:
    """The experiment of a document that ``to_document`` made, with the files that are kept beside it."""
    return Experiment(
        **{name: document[name] for name in _PLAIN},
        **{name: document[name] for name in _MAYBE if name in document},
        labels=tuple(document["labels"]),
        params=document["params"],
        folder=_text_from_json(document["folder"]),
        roles={each["name"]: _role_from_json(each) for each in document["roles"]},
        templates=tuple(_template_from_json(each) for each in document["tasks"]),
        files=files or {},
        schedule=Schedule(**document["schedule"]) if document.get("schedule") else None,
    )


def content_digest(experiment: Experiment) -> str:
    """The sha256, in hexadecimal, of what the experiment says and of its files; where its file lies does not count."""
    document = to_document(experiment)
    del document["folder"]
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(experiment.files):
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        digest.update(hashlib.sha256(experiment.files[name]).digest())
    return digest.hexdigest()


def _role_to_json(role: Role) -> dict[str, Any]:
    requires = None if role.requires is None else {**asdict(role.requires), "labels": list(role.requires.labels)}
    return {"name": role.name, "machine": role.machine, "requires": requires, "each": role.each}


def _role_from_json(value: Mapping[str, Any]) -> Role:
    requires = value["requires"]
    if requires is not None:
        requires = Requirement(**{**requires, "labels": tuple(requires["labels"])})
    return Role(value["name"], value["machine"], requires, value["each"])


def _template_to_json(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "type": template.type,
        "text": template.text,
        "common": template.common,
        "keys": list(template.keys),
        "rows": template.rows,
        "needs": [[need.task, need.how, need.which] for need in template.needs],
        "may_fail": template.may_fail,
    }


def _template_from_json(value: Mapping[str, Any]) -> Template:
    return Template(
        value["name"],
        value["type"],
        value["text"],
        value["common"],
        tuple(value["keys"]),
        _rows(value["rows"]),
        tuple(Need(*need) for need in value["needs"]),
        value["may_fail"],
    )


def _rows(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    return list(map(tuple, rows))


def _text_to_json(text: str) -> str | dict[str, str]:
    """A path that is not UTF-8 as ``{"b64": ...}``."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"b64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")}
    return text


def _text_from_json(value: str | Mapping[str, str]) -> str:
    return value if isinstance(value, str) else base64.b64decode(value["b64"]).decode("utf-8", "surrogateescape")
