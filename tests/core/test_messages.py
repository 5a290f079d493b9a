"""Clients' messages are granted, answered with an error, or end the connection; nothing else."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import messages
from consumer.core.limits import Limits
from consumer.core.messages import BadRequest, Ping, Subscribe, Token, Unreadable, Unsubscribe
from tests.core.examples import message


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (
            {"op": "subscribe", "id": "1", "watch": ["*"], "since": "e-1"},
            Subscribe(["*"], "1", "e-1"),
        ),
        ({"op": "subscribe", "watch": ["*"], "new": 1}, Subscribe(["*"])),
        ({"op": "unsubscribe", "id": "2", "watch": ["*"]}, Unsubscribe(["*"], "2")),
        ({"op": "ping"}, Ping()),
        ({"op": "ping", "id": "x" * 128}, Ping("x" * 128)),
        ({"op": "token", "id": "4", "token": "t"}, Token("t", "4")),
    ],
)  # fmt: skip
def test_messages_of_the_contract(text: dict[str, Any], request_: messages.Request) -> None:
    """Each op; fields that we do not know are left alone."""
    assert messages.decode(json.dumps(text).encode(), Limits()) == request_


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"op": 1}',
        b"\xff",
        b'{"op": "\xff"}',
        b'"\\ud800"',
        b"[" * 60_000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_unreadable(text: bytes) -> None:
    """It has no id to answer to: the connection is closed."""
    with pytest.raises(Unreadable):
        messages.decode(text, Limits())


@pytest.mark.parametrize(
    ("text", "code", "id_"),
    [
        ({"op": "dance", "id": "1"}, "unknown_op", "1"),
        ({"op": "dance", "id": 1}, "unknown_op", None),
        ({"op": "dance", "id": "x" * 129}, "unknown_op", None),
        ({"op": "subscribe", "id": "1"}, "bad_request", "1"),
        ({"op": "dance", "id": "x" * 128}, "unknown_op", "x" * 128),
        ({"op": "ping", "id": "x" * 129}, "bad_request", None),
        ({"op": "subscribe", "id": "1", "watch": []}, "bad_watch", "1"),
        ({"op": "unsubscribe", "id": "1", "watch": []}, "bad_watch", "1"),
        ({"op": "subscribe", "id": "1", "watch": [1]}, "bad_watch", "1"),
        ({"op": "subscribe", "id": "1", "watch": ["x"]}, "bad_watch", "1"),
        ({"op": "unsubscribe", "id": "1", "watch": ["*"] * 401}, "bad_watch", "1"),
        ({"op": "subscribe", "id": "1", "watch": ["*"], "since": 1}, "bad_request", "1"),
        ({"op": "ping", "id": ["1"]}, "bad_request", None),
    ],
)
def test_what_cannot_be_granted_is_answered(text: Any, code: str, id_: str | None) -> None:
    """The error carries the request's id, where it has one that can be repeated."""
    with pytest.raises(BadRequest) as refusal:
        messages.decode(json.dumps(text).encode(), Limits())
    assert (refusal.value.code, refusal.value.id) == (code, id_)
    assert message(messages.failure(refusal.value)) == {
        "op": "error",
        "id": id_,
        "code": code,
        "message": str(refusal.value),
    }


def test_so_many_patterns_are_looked_at() -> None:
    """In one request; one more is refused before any is checked."""
    limits = Limits(watches=3)
    messages.decode(b'{"op":"subscribe","watch":["*","*","*"]}', limits)
    with pytest.raises(BadRequest, match="at most 3 patterns") as refusal:
        messages.decode(b'{"op":"unsubscribe","watch":["x","*","*","*"]}', limits)
    assert refusal.value.code == "bad_watch"


@given(st.binary() | st.text().map(str.encode) | st.dictionaries(
    st.sampled_from(["op", "id", "watch", "since", "token"]),
    st.sampled_from(["subscribe", "unsubscribe", "ping", "token", "*"])
    | st.lists(st.text()) | st.none() | st.integers(),
).map(lambda fields: json.dumps(fields).encode()))  # fmt: skip
def test_nothing_that_a_client_sends_is_another_error(text: bytes) -> None:
    """The two documented errors, or a request."""
    with contextlib.suppress(Unreadable, BadRequest):
        messages.decode(text, Limits())


def test_frames_of_the_contract() -> None:
    """The server's messages, as the contract writes them."""
    assert message(messages.welcome(20)) == {"op": "welcome", "protocol": 1, "heartbeat_s": 20}
    assert message(messages.resumed("1", "e-1")) == {"op": "resumed", "id": "1", "cursor": "e-1"}
    assert message(messages.gap("1", "e-1")) == {"op": "gap", "id": "1", "cursor": "e-1"}
    assert message(messages.skipped(2, "e-1")) == {"op": "skipped", "count": 2, "cursor": "e-1"}
    assert message(messages.pong("3")) == {"op": "pong", "id": "3"}
    assert message(messages.renewed("4", 1_767_225_600.25)) == {
        "op": "token",
        "id": "4",
        "expires": "2026-01-01T00:00:00.250Z",
    }
    assert message(messages.draining(5)) == {"op": "draining", "retry_ms": 5}
    assert message(messages.heartbeat(None, 1)) == {"op": "heartbeat", "lag_ms": 1}
    assert message(messages.heartbeat(None, 1, 900)) == {
        "op": "heartbeat",
        "lag_ms": 1,
        "away_ms": 900,
    }
    assert message(messages.heartbeat("e-1", None)) == {
        "op": "heartbeat",
        "lag_ms": None,
        "cursor": "e-1",
    }


def test_a_snapshot_stays_within_its_frame_size() -> None:
    """A large one comes in several; only the last promises its cursor."""
    payloads = [json.dumps({"n": n, "pad": "x" * 16_000}).encode() for n in range(40)]
    frames = list(messages.snapshot("1", "e-0", "e-9", payloads))
    assert len(frames) > 1
    assert all(len(frame) < messages.MAX_SNAPSHOT_BYTES for frame in frames)
    parts = [message(frame) for frame in frames]
    assert [event["n"] for part in parts for event in part["events"]] == list(range(40))
    assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part["cursor"] for part in parts[:-1]} == {"e-0"}
    assert parts[-1]["cursor"] == "e-9"


def test_a_snapshot_has_as_few_frames_as_its_bound_allows() -> None:
    """The contract's: under 256 KiB, whatever the id and the cursor; and not much under it."""
    frames = list(
        messages.snapshot("x" * 128, "e" * 16 + "-0", "e" * 16 + "-9", [b"1234567"] * 99_999)
    )
    assert all(len(frame) < 256 * 1024 for frame in frames)
    assert all(len(frame) > 255 * 1024 for frame in frames[:-1])
    assert len(frames) == 4


def test_an_empty_snapshot_is_one_frame() -> None:
    """Nothing there is an answer too."""
    (frame,) = messages.snapshot(None, "e-0", "e-0", [])
    assert message(frame)["events"] == []


def test_a_server_that_cannot_do_all_says_what_it_lacks() -> None:
    """In the first message; one that can do all of the protocol says nothing about it."""
    assert message(messages.welcome(60, ["pings"]))["lacks"] == ["pings"]
    assert "lacks" not in message(messages.welcome(20))


def test_a_snapshot_keeps_to_the_frames_that_there_may_be() -> None:
    """Where a server may send smaller ones only."""
    frames = [*messages.snapshot("1", "e-0", "e-9", [b'"%b"' % (b"x" * 900)] * 10, 4_000)]
    assert max(map(len, frames)) < 4_000
    assert [message(frame)["more"] for frame in frames] == [True, True, False]


def test_who_can_send_no_close_code_says_which_it_would_be() -> None:
    """As an error that ends the connection."""
    told = message(messages.closing(messages.CloseCode.TOKEN, "expired"))
    assert (told["op"], told["code"], told["close"]) == ("error", "closing", 4401)
