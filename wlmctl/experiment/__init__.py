"""The experiment file: read and checked, kept as a document, and turned into the texts of its tasks.

The names below are imported when they are first used: ``wlmctl.experiment.model`` alone stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wlmctl.experiment.csvfile import read_params_file
    from wlmctl.experiment.document import content_digest, from_document, to_document
    from wlmctl.experiment.file_schema import schema
    from wlmctl.experiment.header import priority
    from wlmctl.experiment.instances import Instances, instance, runtime_references
    from wlmctl.experiment.names import parse_task_selector
    from wlmctl.experiment.reader import read
    from wlmctl.experiment.values import check_command_value

_PLACES = {
    "Instances": "instances",
    "check_command_value": "values",
    "content_digest": "document",
    "from_document": "document",
    "instance": "instances",
    "parse_task_selector": "names",
    "priority": "header",
    "read": "reader",
    "read_params_file": "csvfile",
    "runtime_references": "instances",
    "schema": "file_schema",
    "to_document": "document",
}

__all__ = [
    "Instances",
    "check_command_value",
    "content_digest",
    "from_document",
    "instance",
    "parse_task_selector",
    "priority",
    "read",
    "read_params_file",
    "runtime_references",
    "schema",
    "to_document",
]


def __getattr__(name: str) -> Any:
    """Import the module that has ``name``, on first use."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = found
    return found
