"""The values that jobs hand to later tasks, read from their files at their ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlmctl.errors import TaskFailed
from wlmctl.quantities import format_size
from wlmctl.text import in_quotes, shown
from wlmctl.transport import Transport
from wlmctl_task_job.contents import Files, contents
from wlmctl_task_job.declared import Output
from wlmctl_task_job.jsonpath import JsonPath, NotThere
from wlmctl_task_job.search import TooSlow, search
from wlmctl_task_job.types import TYPES, Value, WrongType, loads, of_json

#: Values go into the store and into messages: at most this much of one, and of all of a job together.
VALUE_BYTES, VALUES_BYTES = 64 * 1024, 256 * 1024

#: What a handle says of the outputs of a job, by key.
Declared = Mapping[str, Mapping[str, str]]


def read_outputs(declared: Mapping[str, Declared], transport: Transport) -> Mapping[str, dict[str, Value] | TaskFailed]:
    """For each job its values by key, or ``TaskFailed`` with the reason why one is missing.

    ``Unreachable`` or ``Broken`` where the machine does not tell.
    """
    found: dict[str, dict[str, Value] | TaskFailed] = {}
    outputs = {job: {key: Output.from_handle(each) for key, each in of.items()} for job, of in declared.items()}
    paths = {job: [each.file for each in of.values()] for job, of in outputs.items()}
    for some in contents(paths, transport):
        jobs = {job: _Ended(outputs[job], files) for job, files in some.items()}
        searches = {job: ended.searches() for job, ended in jobs.items()}
        results = iter(search([wanted for of_job in searches.values() for wanted in of_job.values()]))
        searched = {job: {key: next(results) for key in of_job} for job, of_job in searches.items()}
        for job, ended in jobs.items():
            try:
                found[job] = ended.values(searched[job])
            except TaskFailed as error:
                found[job] = error
    return found


class _Ended:
    """A job that has ended, and the files that its outputs name."""

    def __init__(self, outputs: Mapping[str, Output], files: Files) -> None:
        self._outputs, self._files = outputs, files
        self._documents: dict[str, Any] = {}

    def searches(self) -> dict[str, tuple[str, str]]:
        """Pattern and text of what is to be searched for, by key."""
        wanted = {key: (output.regex, self._decoded(output)) for key, output in self._outputs.items() if output.regex}
        return {key: (regex, text) for key, (regex, text) in wanted.items() if regex and isinstance(text, str)}

    def values(self, searched: Mapping[str, str | TooSlow | None]) -> dict[str, Value]:
        """All values; ``TaskFailed`` for the first that is missing, or not as it must be."""
        values = {key: self._value(key, output, searched.get(key)) for key, output in self._outputs.items()}
        if sum(len(value.text.encode("utf-8", "surrogatepass")) for value in values.values()) > VALUES_BYTES:
            raise TaskFailed(f"outputs: together the values are longer than {format_size(VALUES_BYTES)}")
        return values

    def _value(self, key: str, output: Output, searched: str | TooSlow | None) -> Value:
        where = f"outputs.{key}: {shown(output.file)}"
        text = self._decoded(output)
        if isinstance(text, TaskFailed):
            raise TaskFailed(f"{where}: {text.reason}")
        if output.json is not None:
            value = self._in_document(where, output.file, text, output.json)
        elif output.regex is not None:
            value = Value(_matched(where, output.regex, searched).strip())
        else:
            value = Value(text.strip())
        if output.type is not None:
            value = _typed(where, value, output.type)
        if "\0" in value.text:
            raise TaskFailed(f"{where}: the value holds a NUL character")
        if len(value.text.encode("utf-8", "surrogatepass")) > VALUE_BYTES:
            raise TaskFailed(f"{where}: the value is longer than {format_size(VALUE_BYTES)}")
        return value

    def _decoded(self, output: Output) -> str | TaskFailed:
        """The text of its file, or why there is none."""
        content = self._files[output.file]
        if isinstance(content, str):
            return TaskFailed(content)
        try:
            # a log may hold anything: what is no text there is of no matter to a search
            return content.decode("utf-8", "replace" if output.regex is not None else "strict")
        except UnicodeDecodeError as error:
            return TaskFailed(f"is not UTF-8 text (byte {error.start})")

    def _in_document(self, where: str, file: str, text: str, json_path: str) -> Value:
        path = JsonPath.parse(json_path)
        if path is None:
            raise TaskFailed(f"{where}: {json_path!r} is no path such as $.energy or $.runs[0].energy")
        try:
            if file not in self._documents:
                self._documents[file] = loads(text)
            return of_json(path.find(self._documents[file]))
        except NotThere as error:
            raise TaskFailed(f"{where}: nothing at {json_path}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise TaskFailed(f"{where}: is no JSON: {error}") from None


def _matched(where: str, regex: str, searched: str | TooSlow | None) -> str:
    if isinstance(searched, TooSlow):
        raise TaskFailed(f"{where}: {searched}, expected a regex that finds {in_quotes(regex)} faster")
    if searched is None:
        raise TaskFailed(f"{where}: nothing in it matches {in_quotes(regex)}")
    return searched


def _typed(where: str, value: Value, name: str) -> Value:
    if name not in TYPES:
        raise TaskFailed(f"{where}: as: {in_quotes(name)}, expected one of {', '.join(TYPES)}")
    try:
        return TYPES[name](value.text)
    except WrongType as error:
        raise TaskFailed(f"{where}: found {in_quotes(value.text)}, expected {error} (as: {name})") from None
