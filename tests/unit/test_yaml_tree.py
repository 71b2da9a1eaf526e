"""YAML and JSON as a tree with lines: the limits, and what is refused by its line."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wlmctl.errors import InvalidFile
from wlmctl.experiment.yamltree import MAX_DEPTH, Mapping, Scalar, parse, to_plain


def plain(text: str) -> Any:
    node = parse(text, "x.yaml")
    assert node is not None
    return to_plain(node)


def refusal(text: str) -> str:
    with pytest.raises(InvalidFile) as caught:
        parse(text, "x.yaml")
    assert len(caught.value.mistakes) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("no", "no"), ("1:30", "1:30"), ("1_000", "1_000"), ("2027-01-10", "2027-01-10"),
        ("true", True), ("FALSE", False), ("~", None), ("null", None), ("010", 10), ("0o10", 8), ("0x1F", 31),
        ("1e3", 1000.0), ("-.5", -0.5), ("0.10", 0.1), ("+12", 12), ("1.", 1.0), ("'10'", "10"), ('"true"', "true"),
        (".inf", ".inf"), ("9" * 30, "9" * 30),
    ],
)  # fmt: skip
def test_unquoted_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert plain(f"- {text}") == [value]


def test_on_is_a_key_and_no_boolean() -> None:
    assert plain("on: push") == {"on": "push"}


def test_a_mode_keeps_its_characters_with_or_without_quotes() -> None:
    assert plain("{mode: 0755, a: {mode: '0644'}}") == {"mode": "0755", "a": {"mode": "0644"}}


def test_every_node_and_key_knows_its_line() -> None:
    node = parse("a: 1\nb:\n  - x\n  - y: 2\n", "x.yaml")
    assert isinstance(node, Mapping)
    assert node.lines == {"a": 1, "b": 2}
    second = node.items["b"]
    assert [item.line for item in getattr(second, "items", [])] == [3, 4]


def test_an_unquoted_scalar_keeps_its_characters() -> None:
    node = parse("a: 0.10", "x.yaml")
    assert isinstance(node, Mapping)
    scalar = node.items["a"]
    assert isinstance(scalar, Scalar)
    assert (scalar.text, scalar.is_plain) == ("0.10", True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: the key 'a' again, expected each key once (it is on line 1 already)"),
        (
            "a: &x [1, *x]\n",
            "x.yaml:1: the alias *x inside its own anchor, expected an alias to what has ended before it",
        ),
        ("a: *x\n", "x.yaml:1: the alias *x, expected the anchor &x before it"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: a second document, expected one document (leave out the line '---')"),
        ("a: !!int 3\n", "x.yaml:1: the tag '!!int', expected a value without a tag (leave the tag out)"),
        ("a: !ruby {}\n", "x.yaml:1: the tag '!ruby', expected a value without a tag (leave the tag out)"),
        ("? [a]\n: b\n", "x.yaml:1: a list, mapping or alias as a key, expected a plain name as the key"),
        ('a: "x\\0y"\n', "x.yaml:1: a NUL character, expected text without NUL characters"),
        ("a: 1\nb: \x07\n", "x.yaml:2: the control character \\x07, expected text without control characters"),
        ("a: \ud800\n", "x.yaml:1: the control character \\ud800, expected text without control characters"),
        (
            "a: \ue000\n",
            "x.yaml:1: the character U+E000 or U+E001, which wlmctl uses itself, expected another character",
        ),
        ("a" * 1100 + ": 1\n", "x.yaml:1: a key longer than 1,024 characters, expected a shorter key"),
        ("a:\n\tb: 1\n", "x.yaml:2: a tab in the indentation, expected spaces"),
        ("a: b: c\n", "x.yaml:1: a ': ' where no key can be, expected one key a line, or quotes around the value"),
        ("a: @x\n", "x.yaml:1: a character that no value can begin with, expected quotes around the value"),
        ("a: 'x\n", "x.yaml:2: quotes that do not end, expected the closing quote"),
    ],
)
def test_what_is_no_tree_is_refused_in_one_line(text: str, line: str) -> None:
    assert refusal(text) == line


def test_too_deep_nesting_is_refused_and_does_not_crash() -> None:
    assert "more than 100 lists and mappings inside one another" in refusal("[" * 50_000)
    assert plain("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_aliases_cannot_nest_deeper_than_the_limit() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
    assert "more than 100 lists and mappings" in refusal(chain)


def test_an_alias_bomb_is_counted_at_its_full_size_and_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert refusal(bomb) == "x.yaml:6: more than 1,000,000 values, aliases written out, expected at most 1,000,000"


def test_aliases_stand_for_their_value() -> None:
    assert plain("a: &x {k: [1]}\nb: *x\n") == {"a": {"k": [1]}, "b": {"k": [1]}}


def test_empty_texts_have_no_tree() -> None:
    assert parse("", "x.yaml") is None
    assert parse("# only a comment\n", "x.yaml") is None


def test_garbage_collection_is_as_it_was_before() -> None:
    assert gc.isenabled()
    parse("a: 1", "x.yaml")
    with pytest.raises(InvalidFile):
        parse("a: [", "x.yaml")
    assert gc.isenabled()


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
keys = st.text('abcxyz"\\é🙂', max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1), json_values, min_size=1), st.booleans())
def test_json_is_read_by_the_same_tree(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    if any(mark in text for mark in ("\ue000", "\ue001", "\\ue000", "\\ue001", "\ufffe", "\uffff")):
        return
    assert plain(text) == value
