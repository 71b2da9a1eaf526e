"""Messages survive the way through JSON, and nothing is guessed at."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wlmctl.machine import Machine, Reference
from wlmctl.message import (
    Answer,
    Deferral,
    DrainMessage,
    EndMessage,
    HeartbeatMessage,
    MarkMessage,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ResultMessage,
    StepProgress,
    TaskKey,
    TaskMessage,
    UndecodableMessage,
    WorkerInfo,
    decode,
    encode,
)
from wlmctl.task import Resources

KEY = TaskKey(1, 2, 3, 4)
MACHINE = Machine("nas", host="h", passphrase=Reference("env", "P"), labels=("a", "b"), transport_options={"x": 1})


def task(text, files=None):
    return TaskMessage(
        KEY,
        "n",
        "t",
        "e-abcdef",
        "a[1]",
        "job",
        text,
        {"r": "nas"},
        {"nas": MACHINE},
        "/f",
        Resources(2),
        (0, 1),
        files or {},
    )


@pytest.mark.parametrize(
    "message",
    [
        task({"command": "x", "list": [1, None, True, {"k": "v"}]}, {"run.sh": b"\x00\xff", "empty": b""}),
        PollMessage(MACHINE, 7, 1.0, [Deferral(KEY, "job", {"pid": 5}, 0, 10), Deferral(KEY, "job", {})]),
        EndMessage(MACHINE, [Deferral(KEY, "job", {"a": "b"})]),
        DrainMessage(),
        MarkMessage(7),
        HeartbeatMessage(
            "w",
            WorkerInfo("w", "h", "h", "u", "b", 1, "2", 4, ("job",)),
            3,
            7,
            False,
            [KEY],
            [],
            [KEY],
            ["p"],
            [StepProgress(KEY, "copying", 5 << 40, 6 << 40, 1, 2, 3 << 40, 2 << 40, 1, 5e8)],
        ),
        ResultMessage("w", KEY, "n", "x", Outcome("done", outputs={"e": "1"}, stdout=b"\xff\n", exit_code=0)),
        PollAnswerMessage("w", "nas", 3, [Answer(KEY, Outcome("failed", "no", "user", 3))], ending=True),
    ],
)
def test_a_message_comes_out_as_it_went_in(message):
    assert decode(encode(message)) == message


surrogates = st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(st.dictionaries(surrogates, surrogates | st.lists(surrogates)), surrogates)
def test_texts_that_are_not_utf8_survive(text, folder):
    message = task(text)
    assert decode(encode(message)).text == message.text


@given(st.dictionaries(st.text(), st.binary()))
def test_file_contents_are_bytes(files):
    assert decode(encode(task({}, files))).files == files


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "no message"),
        (b"[]", "no message"),
        (b"{}", "no message: Object missing required field `schema`"),
        (b'{"schema": 99, "kind": "task"}', "schema 99"),
        (b'{"schema": 1, "kind": "nonsense"}', "unknown kind"),
        (b'{"schema": 1, "kind": "stop"}', "wrong shape"),
        (b'{"schema": 1, "kind": "stop", "key": 5}', "wrong shape"),
        (b'{"schema": 1, "kind": "stop", "key": {"exp": 1}, "more": 1}', "wrong shape"),
        (b'{"schema": 1, "kind": "stop", "escaped": true, "key": {"b64": "!"}}', "wrong shape"),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(body, reason):
    with pytest.raises(UndecodableMessage, match=reason):
        decode(body)


@pytest.mark.parametrize("text", [{"b64": "x"}, {"items": [["a", "b"]]}, {"env": {"b64": "/w=="}}, {"items": "\udcff"}])
def test_a_users_own_keys_are_not_taken_for_marks(text):
    assert decode(encode(task(text))).text == text


@pytest.mark.parametrize("beside", ["x", "\udcff"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_is_none_whatever_stands_beside_it(number, beside):
    message = ResultMessage("w", KEY, "n", "e", Outcome("deferred", handle={"number": number, "beside": beside}))
    assert decode(encode(message)).outcome.handle == {"number": None, "beside": beside}


def test_a_message_is_readable_json():
    plain = json.loads(encode(task({"command": "echo ü"})))
    assert plain["schema"] == 1
    assert plain["text"]["command"] == "echo ü"
