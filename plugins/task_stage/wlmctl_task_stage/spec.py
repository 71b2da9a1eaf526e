"""The keys of a ``stage`` task."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.machine import LOCAL
from wlmctl.spec import check_keys, choice_of, found, has_placeholder, text_of, texts_of
from wlmctl.transfer import Endpoint, Symlinks, Verify, split_endpoint

_ENDPOINT = "role:path, as in compute:work/"


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What goes where, and how. Paths are as written: relative ones lie in the experiment's folder."""

    sources: tuple[Endpoint, ...]
    to: Endpoint
    exclude: tuple[str, ...] = ()
    symlinks: Symlinks = Symlinks.KEEP
    verify: Verify = Verify.SHA256
    cache: bool = False


#: The keys as JSON Schema says them.
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["from", "to"],
    "properties": {
        "from": {
            "description": "one role:path or a list; patterns and folders too",
            "anyOf": [
                {"type": "string", "pattern": "^[^:]+:"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[^:]+:"}},
            ],
        },
        "to": {"description": "role:path; with a final slash a folder", "type": "string", "pattern": "^[^:]+:"},
        "exclude": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "symlinks": {"enum": list(Symlinks)},
        "verify": {"enum": list(Verify)},
        "cache": {"description": "keep large files on the target's machine for others", "type": "boolean"},
    },
}


def parse(mapping: Mapping[str, Any]) -> StageSpec:
    """The keys as a ``StageSpec``; ``SpecError`` for the first that does not fit."""
    check_keys(mapping, ("from", "to", "exclude", "symlinks", "verify", "cache"))
    if "from" not in mapping:
        raise SpecError("from", "is missing", f"{_ENDPOINT}, or a list of them")
    texts = texts_of(mapping, "from", f"{_ENDPOINT}, or a list of them", or_one=True)
    if not texts:
        raise SpecError("from", "is an empty list", f"{_ENDPOINT}, or a list of them")
    sources = tuple(_endpoint("from", text) for text in texts)
    to = _endpoint("to", text_of(mapping, "to", _ENDPOINT))
    if to.is_pattern:
        raise SpecError("to", f"found the pattern {found(to.path)}", "the path of one file or folder")
    # a run-time value may yet end with a slash; the text is parsed again when it is known
    is_settled = not has_placeholder(to.path)
    if is_settled and not to.is_folder and (len(sources) > 1 or sources[0].is_pattern):
        several = "a pattern" if len(sources) == 1 else "several sources"
        raise SpecError("to", f"found {found(to.path)} for {several}", "a path with a final slash")
    exclude = texts_of(mapping, "exclude", 'a list of patterns, as in ["*.tmp"]')
    if "" in exclude:
        raise SpecError(f"exclude[{exclude.index('')}]", "is empty", "a pattern")
    cache, verify = mapping.get("cache", False), choice_of(mapping, "verify", Verify, Verify.SHA256)
    if not isinstance(cache, bool):
        raise SpecError("cache", f"found {found(cache)}", "true or false")
    if cache and verify != Verify.SHA256:
        raise SpecError("cache", f"found true with verify {verify}", "verify sha256, which names what is kept")
    return StageSpec(sources, to, exclude, choice_of(mapping, "symlinks", Symlinks, Symlinks.KEEP), verify, cache)


def _endpoint(key: str, text: str) -> Endpoint:
    try:
        endpoint = split_endpoint(text)
    except ValueError as error:
        raise SpecError(key, f"found {found(text)}", str(error), "name the role, local: for this host") from None
    path = posixpath.normpath(endpoint.path)
    if endpoint.role != LOCAL and (path == ".." or path.startswith("../")):
        raise SpecError(key, f"found {found(text)}", "a path that stays in the experiment's folder")
    return endpoint
