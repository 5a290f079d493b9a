"""What the client makes of messages and of a connection's end, without any I/O."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.client import backoff, claims
from consumer.client.course import MAX_REFUSALS, STEADY_S, Course
from consumer.client.dialogue import Dialogue
from consumer.client.errors import TokenRefused
from tests.edges.issuers import segment

WELCOME = json.dumps({"op": "welcome", "protocol": 1, "heartbeat_s": 20})
SNAPSHOT = json.dumps({"op": "snapshot", "id": "1", "cursor": "e-1", "events": [], "more": False})
OPS = ["welcome", "snapshot", "resumed", "status", "gap", "skipped", "heartbeat", "draining"]
FIELDS = ["cursor", "id", "events", "more", "event", "late", "count", "lag_ms", "away_ms", "code"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
MESSAGE = st.dictionaries(
    st.sampled_from([*FIELDS, "heartbeat_s", "lacks", "retry_ms", "message", "close"]), JSON
).flatmap(lambda fields: st.sampled_from([*OPS, "error", "?"]).map(lambda op: {**fields, "op": op}))


def course(*, can_renew: bool = False, chance: float = 1.0) -> Course:
    return Course(["*"], None, can_renew=can_renew, chance=lambda: chance)


def token(payload: Any) -> str:
    return f"{segment({'alg': 'HS256'})}.{segment(payload)}.{segment(b's')}"


def end(of: Course, code: int | None, *, lived_s: float | None = None) -> tuple[str, float]:
    """Of a connection that was live for so long, or never: what one does about it."""
    dialogue = of.begin(None, 0.0, 0.0)
    if lived_s is not None:
        dialogue.receive(WELCOME)
        dialogue.receive(SNAPSHOT)
        dialogue.waits(0.0)
    back = of.after(dialogue, code, "", lived_s or 0.0)
    return back.why, back.wait_s


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(MESSAGE.map(json.dumps), JSON.map(json.dumps), st.text())))
def test_whatever_the_server_says_the_client_stands(texts: list[str]) -> None:
    """A message that cannot be read ends the connection, and raises nothing."""
    dialogue = Dialogue(["*"], None, 0.0)
    for number, text in enumerate(texts):
        dialogue.receive(text)
        dialogue.waits(float(number))
        assert dialogue.due_s > number - 1
        dialogue.pass_time(dialogue.due_s)


def test_waits_double_up_to_a_bound() -> None:
    """The longest that each attempt may wait; it is chance how much of it."""
    waits = [backoff.wait_s(attempt, 1.0) for attempt in range(9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert backoff.wait_s(1_000_000, 0.5) == 15.0
    assert backoff.wait_s(3, 0.0) == 0.0


def test_a_steady_connection_makes_the_next_wait_short() -> None:
    """One that is lost soon does not: whoever accepts and then refuses meets a growing wait."""
    stands = course()
    assert [end(stands, 1006, lived_s=1.0)[1] for _ in range(3)] == [0.5, 1.0, 2.0]
    assert end(stands, 1006, lived_s=STEADY_S)[1] == 0.5
    assert end(stands, None)[1] == 1.0


def test_a_welcome_makes_refusals_count_anew() -> None:
    """Only tokens that are refused one after the other end a stream."""
    stands = course(can_renew=True)
    for _ in range(3):
        for _ in range(MAX_REFUSALS):
            end(stands, 4401)
        end(stands, 1006, lived_s=1.0)
    for _ in range(MAX_REFUSALS):
        end(stands, 4401)
    with pytest.raises(TokenRefused):
        end(stands, 4401)


def test_a_token_that_is_refused_at_once_is_waited_for() -> None:
    """A callable that brings the same again must not be asked in a loop without end."""
    stands = course(can_renew=True)
    assert end(stands, 4401, lived_s=1.0)[1] == 0.0
    assert [end(stands, 4401)[1] for _ in range(3)] == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("lifetime_s", "renewed_s"), [(900, 675), (10, 7.5), (-5, 0)])
def test_when_a_token_is_renewed(lifetime_s: int, renewed_s: float) -> None:
    """When three quarters of what is left of it are over; its clock is not ours."""
    begun = course(can_renew=True).begin(token({"exp": 1_000_000 + lifetime_s}), 50.0, 1_000_000.0)
    begun.receive(WELCOME)
    assert not begun.wants_token(50.0 + renewed_s - 0.01)
    assert begun.wants_token(50.0 + renewed_s)


@pytest.mark.parametrize(
    "text",
    ["", "opaque", "a.b.c", "a.!.c", token([]), token({"exp": "soon"}), token({"exp": True})],
)
def test_a_token_that_cannot_be_read(text: str) -> None:
    """The server may be able to: it is shown, and not renewed by a clock."""
    assert claims.expires_s(text) is None
    assert claims.watch(text) == ("*",)


def test_what_a_token_lets_watch() -> None:
    """Whatever its claim is called; a list of other things is none of patterns."""
    assert claims.watch(token({"roles": ["admin"], "seen": [], "w": ["execution:a"]})) == (
        "execution:a",
    )
    assert claims.watch(None) == ("*",)


def test_a_slow_reader_does_not_take_the_server_for_silent() -> None:
    """Silence counts from when there is nothing left to deal with."""
    dialogue = Dialogue(["*"], None, 0.0)
    dialogue.receive(WELCOME)
    dialogue.receive(SNAPSHOT)
    dialogue.waits(1_000.0)
    assert dialogue.pass_time(1_044.0) == []
    assert len(dialogue.pass_time(1_045.0)) == 1
    dialogue.waits(1_070.0)
    dialogue.pass_time(1_080.0)
    assert dialogue.over == "the server is silent"
