"""Messages are data: what is forged, broken or monstrous is refused with a reason, and never does more."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wlmctl.machine import Machine, Reference
from wlmctl.message import (
    Answer,
    ClosedMessage,
    Deferral,
    HeartbeatMessage,
    Outcome,
    PermitsBackMessage,
    PollAnswerMessage,
    PollMessage,
    ResultMessage,
    TaskKey,
    TaskMessage,
    UndecodableMessage,
    WorkerInfo,
    decode,
    encode,
    unbundle,
)
from wlmctl.message.depth import DEEPEST
from wlmctl.task import Resources

KEY = TaskKey(1, 2, 3, 4)
MACHINE = Machine("nas", host="h", passphrase=Reference("env", "P"), labels=("a",))
INFO = WorkerInfo("w", "h", "h", "u", "b", 1, "2", 4, ("job",))
RESULT = ResultMessage(
    "w", KEY, "n", "x",
    Outcome("done", "r", "user", 3, {"e": "1"}, "/f", {"pid": 1}, False, True, "nas", b"o", b"e"),
)  # fmt: skip
MESSAGES = [
    RESULT,
    PollAnswerMessage("w", "nas", 3, [Answer(KEY, Outcome("failed", "no", "user", 3))]),
    HeartbeatMessage("w", INFO, 3, 7, False, [KEY], [KEY], [KEY], ["p"]),
    PermitsBackMessage("w", ["a"]),
    TaskMessage(KEY, "n", "t", "e", "a", "job", {"command": "x"}, {"r": "nas"}, {"nas": MACHINE}, "/f", Resources(1),
                (1,), {"f": b"x"}, True, 5, True, True),
    PollMessage(MACHINE, 7, 1.0, [Deferral(KEY, "job", {"pid": 5})]),
    ClosedMessage("w", "timed out"),
]  # fmt: skip


def plain(message, *, escaped):
    """The message as the JSON that travels, in one of the two ways it may."""
    value = json.loads(encode(message))
    return {**value, "escaped": True} if escaped else value


def is_well_typed(message):
    """True where each field has the type that its class says, all the way down."""
    kind = type(message)
    plain = msgspec.to_builtins(message, builtin_types=(bytes,))
    return msgspec.convert(plain, kind, builtin_types=(bytes,)) is not None


def places(value, path=()):
    """The path to everything inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\0"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("b64"), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("escaped", [False, True])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_message_with_one_place_changed_is_refused_or_well_typed(escaped, data):
    value = plain(data.draw(st.sampled_from(MESSAGES)), escaped=escaped)
    path = data.draw(st.sampled_from(list(places(value))))
    body = json.dumps(changed(value, path, data.draw(anything))).encode()
    try:
        message = decode(body)
    except UndecodableMessage:
        return
    assert is_well_typed(message)


@given(st.binary())
def test_any_bytes_are_refused_and_nothing_else(body):
    for read in (decode, unbundle):
        with contextlib.suppress(UndecodableMessage):
            read(body)


@settings(max_examples=200)
@given(st.data())
def test_a_body_that_was_cut_or_damaged_is_refused_or_well_typed(data):
    body = bytearray(encode(data.draw(st.sampled_from(MESSAGES))))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(body[: data.draw(st.integers(0, len(body)))]))
    except UndecodableMessage:
        return
    assert is_well_typed(message)


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("number", [10**19, -(10**19), 10**400, 1.5, True, "1", None, [1], {"a": 1}])
def test_a_number_that_no_store_can_hold_is_refused(escaped, number):
    value = plain(RESULT, escaped=escaped)
    value["key"]["exp"] = number
    with pytest.raises(UndecodableMessage):
        decode(json.dumps(value).encode())


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("number", ["1e999", "-1", "1e300", "NaN", "Infinity"])
def test_a_time_that_nothing_takes_is_refused(escaped, number):
    text = json.dumps({**plain(RESULT, escaped=escaped), "took_s": "HERE"})
    with pytest.raises(UndecodableMessage):
        decode(text.replace('"HERE"', number).encode())


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(
    ("message", "path", "value"),
    [
        (RESULT, ("outcome", "what"), "magic"),
        (RESULT, ("outcome", "failure_class"), "magic"),
        (RESULT, ("worker",), ""),
        (RESULT, ("worker",), "w" * 300),
        (RESULT, ("worker",), "w\0"),
        (RESULT, ("worker",), "w\n"),
        (MESSAGES[2], ("info", "types"), ["x" * 300]),
        (MESSAGES[2], ("info", "types"), ["../x"]),
        (MESSAGES[2], ("info", "slots"), 10**9),
        (MESSAGES[2], ("info", "slots"), -1),
    ],
)
def test_a_word_that_means_nothing_here_is_refused(escaped, message, path, value):
    with pytest.raises(UndecodableMessage, match="wrong shape"):
        decode(json.dumps(changed(plain(message, escaped=escaped), path, value)).encode())


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_deep_nesting_is_refused(escaped, depth, opening, closing):
    text = json.dumps({**plain(RESULT, escaped=escaped), "outcome": {"what": "done", "handle": {"deep": "HERE"}}})
    for end in (closing * depth, ""):
        with pytest.raises(UndecodableMessage):
            decode(text.replace('"HERE"', opening * depth + "1" + end).encode())
    with pytest.raises(UndecodableMessage):
        unbundle(b'{"schema":1,"kind":"bundle","messages":[' + (opening * 100_000).encode())


def test_what_is_deep_only_in_its_texts_is_taken():
    outcome = Outcome("done", "[{" * 1000 + '"\\"[[', outputs={"[" * 500: "\\"})
    message = msgspec.structs.replace(RESULT, outcome=outcome)
    assert decode(encode(message)) == message


def test_what_a_worker_says_in_other_bytes_than_utf8_can_be_stored_and_its_handles_come_back():
    for bad, shown in (("a\udcffb", "a\\xffb"), ("\ud800", "\\xed\\xa0\\x80")):
        outcome = Outcome(
            "failed", bad, "user", outputs={bad: bad}, folder=bad, handle={"path": "\udcff"}, stdout=b"\xff"
        )
        read = decode(encode(msgspec.structs.replace(RESULT, outcome=outcome))).outcome
        assert (read.reason, read.folder, read.outputs) == (shown, shown, {shown: shown})
        assert (read.handle, read.stdout) == ({"path": "\udcff"}, b"\xff")


def test_a_text_as_deep_as_an_experiment_file_may_be_is_taken():
    deep = "x"
    for _ in range(100):
        deep = {"a": deep}
    message = msgspec.structs.replace(MESSAGES[4], text=deep)
    assert decode(encode(message)) == message


def test_a_bundle_of_more_than_anybody_sends_is_refused():
    with pytest.raises(UndecodableMessage):
        unbundle(b'{"schema":1,"kind":"bundle","messages":[' + b"1," * 1_000_000 + b"1]}")


def test_a_bundle_in_a_bundle_is_no_message():
    inner = b'{"schema":1,"kind":"bundle","messages":[]}'
    (body,) = unbundle(b'{"schema":1,"kind":"bundle","messages":[' + inner + b"]}")
    with pytest.raises(UndecodableMessage, match="bundle"):
        decode(body)
