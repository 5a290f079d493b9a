"""The decoders against inputs that nobody would send; the long mode tries a million."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core import events
from tests.soak import fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
GOOD: list[dict[str, Any]] = [json.loads(seed) for seed in fuzz.SEEDS]


@given(st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode))
@settings(max_examples=300)
def test_any_input_is_decoded_or_refused(data: bytes) -> None:
    """Bytes and JSON of any shape raise the documented errors only."""
    for target in fuzz.TARGETS:
        target(data)


@given(st.data())
@settings(max_examples=300)
def test_one_field_of_any_shape_is_decoded_or_refused(data: st.DataObject) -> None:
    """A good message with one field replaced, at the top or one below."""
    message = dict(data.draw(st.sampled_from(GOOD)))
    name = data.draw(st.sampled_from(sorted(message)))
    if isinstance(message[name], dict) and message[name] and data.draw(st.booleans()):
        inner = dict(message[name])
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
        message[name] = inner
    else:
        message[name] = data.draw(JSON)
    for target in fuzz.TARGETS:
        target(json.dumps(message).encode())


def test_mutants_are_decoded_or_refused() -> None:
    """Good messages, damaged."""
    assert fuzz.run(seed=1, count=20_000) == 20_000


def test_some_mutants_are_still_good() -> None:
    """Otherwise nothing behind the first refusal is tried."""
    seen = {_is_event(data) for data in fuzz.mutants(random.Random(1), 200)}
    assert seen == {True, False}


def _is_event(data: bytes) -> bool:
    try:
        events.decode(data)
    except events.Malformed:
        return False
    return True


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_the_good_messages_pass(target: Any) -> None:
    """Each seed is taken by one of the decoders, and refused politely by the other."""
    for seed in fuzz.SEEDS:
        target(seed)
