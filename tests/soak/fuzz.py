"""Whatever bytes arrive, the decoders raise what they document and nothing else.

Inputs are made three ways: by Hypothesis, by changing good messages at random (`mutants`), and,
where it is installed, by atheris, which is led by coverage: `python -m tests.soak.fuzz 1000000`.
"""

import inspect
import json
import random
import sys
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from consumer.core import events, messages, watch
from consumer.core.limits import Limits
from infra.local.folder import run_folder
from tests.core import examples

INTERESTING: Final = (
    b"null", b"-1", b"1e999", b"1e15", b'""', b"\\ud800", b"\xff", b"\x00", b"{}", b"[[[[",
    b"9" * 400,
    "\u2028".encode(), b'"\\u0000"', b"[" * 2000, b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:60Z",
    b"253402300800000", b'"v":1,"v":2', b"i-12345678\\n", b"true", b"-0", b"NaN",
)  # fmt: skip

SEEDS: Final = tuple(
    json.dumps(each).encode()
    for each in (
        examples.step_body(),
        examples.step_body(reason={"error": "E", "cause": "c"}, terminal=True, status="FAILED"),
        examples.execution_change(),
        examples.execution_change(status="FAILED", stopDate=1767225605000, error="E", cause="c"),
        examples.instance_change(),
        {"op": "subscribe", "id": "1", "watch": [f"instance:{examples.INSTANCE}"], "since": "e-1"},
        {"op": "subscribe", "watch": [f"execution:{examples.ARN}", "machine:express", "*"]},
        {"op": "unsubscribe", "id": "2", "watch": ["*"]},
        {"op": "ping", "id": "3"},
        {"op": "token", "id": "4", "token": "t"},
    )
)


def decode_event(data: bytes) -> None:
    """What a queue may bring: an event that can be written and read again, or `Malformed`."""
    try:
        event = events.decode(data)
    except events.Malformed:
        return
    written = events.encode(event)
    assert len(written) <= events.MAX_EVENT_BYTES
    assert events.decode_stored(written) == event
    assert events.milliseconds(event.time) >= 0
    assert event.key
    assert event.identity
    json.loads(written)


def decode_message(data: bytes) -> None:
    """What a client may say: a request, or one of two refusals that can be written as a frame."""
    try:
        request = messages.decode(data, Limits())
    except messages.Unreadable:
        return
    except messages.BadRequest as error:
        frame = messages.failure(error)
        assert len(frame) <= Limits().message_bytes + len(data) * 6
        return
    assert msgspec.json.encode(request)


TARGETS: Final[tuple[Callable[[bytes], None], ...]] = (decode_event, decode_message)


def mutants(dice: random.Random, count: int) -> Iterator[bytes]:
    """Good messages with some of their bytes changed, cut, doubled or mixed with another's."""
    for _ in range(count):
        data = bytearray(dice.choice(SEEDS))
        for _ in range(dice.randint(1, 6)):
            _mutate(dice, data)
        yield bytes(data)


def _mutate(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data) + 1)
    end = min(len(data), start + dice.randint(0, 12))
    roll = dice.random()
    if roll < 0.3:
        data[start:end] = dice.choice(INTERESTING)
    elif roll < 0.5:
        data[start:end] = bytes(dice.randrange(256) for _ in range(end - start))
    elif roll < 0.7:
        del data[start:end]
    elif roll < 0.85:
        data[start:start] = data[start : start + dice.randint(0, 200)]
    else:
        other = dice.choice(SEEDS)
        cut = dice.randrange(len(other))
        data[start:end] = other[cut : cut + dice.randint(1, 60)]


def run(seed: int, count: int) -> int:
    """Give `count` mutants to the decoders, in turn; returns how many there were."""
    for number, data in enumerate(mutants(random.Random(seed), count)):
        try:
            TARGETS[number % len(TARGETS)](data)
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {number}: {data!r}") from error
    return count


def by_coverage(count: int) -> None:
    """The same led by coverage, from the good messages on; ends the process.

    Raises ImportError where atheris is not installed: it is no dependency of the project.
    """
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415 # see above

    def both(data: bytes) -> None:
        for target in TARGETS:
            target(data)

    for module in (events, messages, watch):
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                atheris.instrument_func(function)
    with run_folder() as corpus:  # the end is abrupt; the next run removes what it leaves
        for number, seed in enumerate(SEEDS):
            (corpus / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], f"-runs={count}", "-max_len=20000", str(corpus)], both)
        atheris.Fuzz()


if __name__ == "__main__":
    by_coverage(int(sys.argv[1]))
