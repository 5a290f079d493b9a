"""The contract's machine-readable twins say what the code does, and the code what they say."""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from consumer.core import entries, events, messages, watch
from consumer.core.limits import Limits
from consumer.core.messages import BadRequest, Unreadable
from consumer.core.watch import BadWatch
from consumer.edges import handshake
from infra.local.models import Model
from lambdas.watch_tokens import app as watch_tokens
from tests.contract import trace
from tests.contract.conftest import Logs
from tests.core import examples
from tests.core.examples import INSTANCE, step_body

ROOT: Final = Path(__file__).parents[2]
ASYNCAPI: Final[dict[str, Any]] = yaml.safe_load((ROOT / "infra/asyncapi.yaml").read_text())
OPENAPI: Final[dict[str, Any]] = yaml.safe_load((ROOT / "infra/openapi.yaml").read_text())
EVENT: Final[dict[str, Any]] = json.loads((ROOT / "infra/status-event.schema.json").read_text())
CHANNEL: Final[dict[str, Any]] = ASYNCAPI["channels"]["status"]
MESSAGES: Final[dict[str, Any]] = ASYNCAPI["components"]["messages"]
SCHEMAS: Final[dict[str, Any]] = ASYNCAPI["components"]["schemas"]
REGISTRY: Final = Registry[Any]().with_resources(
    (f"file:///{name}", DRAFT202012.create_resource(document))
    for name, document in (("asyncapi.yaml", ASYNCAPI), ("status-event.schema.json", EVENT))
)
FORMATS: Final = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_on_the_calendar(time: object) -> bool:
    return not isinstance(time, str) or bool(datetime.fromisoformat(time))


def _validator(reference: str) -> Draft202012Validator:
    where = {"$ref": f"file:///{reference}"}
    return Draft202012Validator(where, registry=REGISTRY, format_checker=FORMATS)


def _by_op(parts: Iterable[dict[str, Any]]) -> dict[str, Draft202012Validator]:
    """A validator per op of the messages that these operations and replies name."""
    names = {each["$ref"].rpartition("/")[2] for part in parts for each in part["messages"]}
    return {
        MESSAGES[name]["payload"]["properties"]["op"]["const"]: _validator(
            f"asyncapi.yaml#/components/messages/{name}/payload"
        )
        for name in names
    }


SENT: Final = [each for each in ASYNCAPI["operations"].values() if each["action"] == "send"]
RECEIVED: Final = [each for each in ASYNCAPI["operations"].values() if each["action"] == "receive"]
FROM_SERVER: Final = _by_op([*SENT, *(each["reply"] for each in RECEIVED)])
FROM_CLIENT: Final = _by_op(RECEIVED)
STATUS_EVENT: Final = _validator("status-event.schema.json")


def _ops(told: Any, documented: dict[str, Draft202012Validator]) -> list[str]:
    """The ops whose message this is, by the document."""
    return [op for op, validator in documented.items() if validator.is_valid(told)]


@pytest.mark.parametrize("path", trace.TRACES, ids=lambda path: path.stem)
async def test_traces_speak_as_documented(
    path: Path, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message of a golden trace, either way, is the documented one of its op and no other."""
    frames: list[dict[str, Any]] = []
    write = trace.RecordingClient.write

    def witness(client: trace.RecordingClient, data: bytes) -> None:
        frames.extend(trace.decode_frames(data))
        write(client, data)

    monkeypatch.setattr(trace.RecordingClient, "write", witness)
    player = trace.Player(path, logs.open, logs.close)
    await player.play()
    said = [
        player._concrete(short) for step in player.steps for short in step.get("send", {}).values()
    ]
    for told, documented in ((frames, FROM_SERVER), (said, FROM_CLIENT)):
        assert [each for each in told if _ops(each, documented) != [each["op"]]] == []
    assert frames or not said


def test_every_message_of_the_server_is_documented() -> None:
    """Each kind that the code can make, and no other but the answer to a token."""
    event = events.decode(json.dumps(step_body()))
    payload = events.encode(event)
    frames = [
        messages.welcome(0.5),
        messages.welcome(60, ["pings"]),
        *messages.snapshot(None, "e-0", "e-9", [payload] * 1_000),  # in several frames
        messages.resumed("1", "e-1"),
        entries.committed("e", 1, event, payload, late=True).frame,
        messages.gap(None, "e-1"),
        messages.skipped(1, "e-1"),
        messages.heartbeat(None, None),
        messages.pong(None),
        messages.failure(BadRequest("bad_watch", "m")),
        messages.closing(messages.CloseCode.TOKEN, "m"),
        messages.draining(1),
    ]
    told = [examples.message(frame) for frame in frames]
    assert [_ops(each, FROM_SERVER) for each in told] == [[each["op"]] for each in told]
    assert {each["op"] for each in told} | {"token"} == set(FROM_SERVER)


def test_examples_are_what_they_illustrate() -> None:
    """Every message and the event have examples that are valid, and that the code takes."""
    for name, documented in MESSAGES.items():
        for payload in [example["payload"] for example in documented["examples"]]:
            _validator(f"asyncapi.yaml#/components/messages/{name}/payload").validate(payload)
            assert name not in FROM_CLIENT or _is_message(payload)
    Draft202012Validator.check_schema(EVENT)
    for event in EVENT["examples"]:
        STATUS_EVENT.validate(event)
        assert json.loads(events.encode(events.decode(json.dumps(event)))) == event


def test_the_document_hangs_together() -> None:
    """Its references lead somewhere, its address is the code's, each message has its operation."""
    resolver = REGISTRY.resolver("file:///asyncapi.yaml")
    for reference in re.findall(r"'\$ref': '([^']+)'", str(ASYNCAPI)):
        resolver.lookup(reference)
    assert ASYNCAPI["asyncapi"].startswith("3.0.")
    assert ASYNCAPI["info"].keys() >= {"title", "version"}
    assert CHANNEL["address"] == handshake.PATH
    assert CHANNEL["bindings"]["ws"]["query"]["properties"].keys() == {"watch", "since"}
    assert CHANNEL["messages"].keys() == MESSAGES.keys()
    assert len(FROM_SERVER) + len(FROM_CLIENT) == len(MESSAGES)


def test_enumerations_and_limits_are_those_of_the_code() -> None:
    """Statuses, sources, machines, ops, close codes; sizes, which no schema can express."""
    assert {name: kind["enum"] for name, kind in EVENT["$defs"].items() if "enum" in kind} == {
        "executionStatus": list(get_args(events.ExecutionStatus)),
        "instanceStatus": list(get_args(events.InstanceStatus)),
        "source": list(get_args(events.Source)),
        "machine": list(get_args(events.Machine)),
    }
    assert set(FROM_CLIENT) == {kind.__struct_config__.tag for kind in get_args(messages.Request)}
    assert [each["code"] for each in CHANNEL["x-close-codes"]] == list(messages.CloseCode)
    assert CHANNEL["x-limits"] == {
        "client_message_bytes": Limits().message_bytes,
        "watches_per_client": Limits().watches,
        "snapshot_frame_bytes": messages.MAX_SNAPSHOT_BYTES,
        "event_bytes": events.MAX_EVENT_BYTES,
    }


def test_error_codes_are_those_of_the_code() -> None:
    """Those that the source names, and the two that decoding chooses between."""
    sources = [path.read_text() for path in (ROOT / "consumer").rglob("*.py")]
    told = {code for text in sources for code in re.findall(r'BadRequest\(\s*"(\w+)"', text)}
    for refused in (b'{"op":"subscribe"}', b'{"op":"subscribe","watch":[]}'):
        with pytest.raises(BadRequest) as refusal:
            messages.decode(refused, Limits())
        told.add(refusal.value.code)
    assert told == set(SCHEMAS["errorCode"]["enum"])


def test_what_queues_carry_becomes_the_documented_event() -> None:
    """Notifications, and times in another notation, reach clients in the one shape."""
    elsewhere = step_body(time="2026-01-01T02:00:00+02:00")
    for told in (examples.execution_change(), examples.instance_change(), elsewhere):
        STATUS_EVENT.validate(msgspec.to_builtins(events.decode(json.dumps(told))))


# Where they differ by nature, and are not compared: sizes in bytes; 1.0, an integer to a JSON
# Schema; the end of a text, which Python's `$` also sees before a last newline.
SCALARS = st.none() | st.booleans() | st.integers() | st.just(0.5) | st.text()
STRUCTURES = st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3)
TIMES = st.from_regex(EVENT["properties"]["time"]["pattern"], fullmatch=True)
ABSENT: Final = ...
# fmt: off
TELLING: Final = [
    ABSENT, None, True, 0, 1, 2, -1, 0.5, "", "x", "x" * 129, "😀" * 512, "😀" * 513, [], {},
    *sorted(events.EXECUTION_STATUSES), *sorted(events.INSTANCE_STATUSES),
    *get_args(events.Source), *get_args(events.Machine),
    INSTANCE, "i-12345678", "i-123456789", "i-1234567G", f" {INSTANCE}", f"{INSTANCE}0",
    "1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z",
    "2026-02-29T00:00:00.000Z", "2024-02-29T00:00:00.000Z", "2026-01-01T24:00:00.000Z",
    "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000+00:00", "2026-01-01T00:00:60.000Z",
    step_body()["execution"], ["*"], ["**"], [1], ["*"] * 400, ["*"] * 401,
    [f"instance:{INSTANCE}"], ["instance:i-1"], ["machine:express"], ["machine:other"],
    ["execution:run"], ["execution:"], ["execution:a b"], ["execution:" + "x" * 81],
    [f"execution:{trace.arn('run')}"], [f"execution:{trace.arn('x' * 512)}"], ["execution:arn:aws"],
    ["execution:arn:aws:states:us-east-1:000000000000:express:machine:run:0"],
]
# fmt: on


def _with_each_field(body: dict[str, Any], value: Any) -> Iterator[dict[str, Any]]:
    """The body with this value for each field in turn, or without that field."""
    for name in body:
        rest = {k: v for k, v in body.items() if k != name}
        yield rest if value is ABSENT else {**rest, name: value}


def _is_event(body: dict[str, Any]) -> bool:
    """Taken as it is: decoding also takes times in other notations, which clients never see."""
    try:
        time = events.decode(json.dumps(body)).time
    except events.Malformed:
        return False
    return bool(time == body["time"])


def _is_message(body: dict[str, Any]) -> bool:
    try:
        return bool(messages.decode(json.dumps(body).encode(), Limits()))
    except (BadRequest, Unreadable):
        return False


def _compare(value: Any) -> None:
    about_an_instance = step_body(execution=None, source="reconcile", status="running")
    bodies = [*_with_each_field(step_body(), value), *_with_each_field(about_an_instance, value)]
    runs = _with_each_field(step_body()["execution"], value)
    for body in (*bodies, *(step_body(execution=run) for run in runs)):
        assert _is_event(body) == STATUS_EVENT.is_valid(body), body
    for op in FROM_CLIENT:
        for body in _with_each_field(MESSAGES[op]["examples"][-1]["payload"], value):
            assert _is_message(body) == bool(_ops(body, FROM_CLIENT)), body


@pytest.mark.parametrize("value", TELLING, ids=lambda value: ascii(value)[:30])
def test_decoding_and_the_documents_agree(value: Any) -> None:
    """With one field missing, or near an edge: both take the event or message, or neither does."""
    _compare(value)


@settings(max_examples=50, deadline=None)
@given(SCALARS | STRUCTURES | TIMES)
def test_decoding_and_the_documents_agree_on_anything(value: Any) -> None:
    """With any value at all in one field: both take the event or message, or neither does."""
    _compare(value)


PATTERNS: Final = [
    *(each for value in TELLING if isinstance(value, list) for each in value if each != 1),
    *("", "*\n", "*:", "instance:*", "instance:i-0123456789ABCDEF0", "i-12345678"),
    *("instance:i-1234567", "instance:i-12345678\n", "instance: i-12345678", "Machine:express"),
    *("machine:standard", "machine:", "execution:run\n", "execution:a:b", "execution:a\u00a0b"),
    *("execution:é", "execution:" + "x" * 80, "execution:" + "x" * 81),
    *("execution:" + trace.arn("x" * 400), "execution:" + trace.arn("a b")),
]
NEAR_PATTERNS = st.builds(
    str.__add__, st.sampled_from(["", "instance:", "execution:", "machine:", "*"]), st.text()
)


def _is_watch(pattern: str) -> bool:
    try:
        return bool(watch.check(pattern))
    except BadWatch:
        return False


def _compare_watch(pattern: str) -> None:
    watched = Draft202012Validator(SCHEMAS["watchPattern"]).is_valid(pattern)
    asked = OPENAPI["components"]["schemas"]["WatchTokenRequest"]["properties"]["watch"]
    modelled = Model(asked, {}).complaint(json.dumps([pattern])) is None
    granted = watch_tokens.is_pattern(pattern)
    assert _is_watch(pattern) == granted == modelled, pattern
    assert watched == granted or pattern.endswith("\n"), pattern


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: ascii(pattern)[:30])
def test_one_watch_pattern_is_one_everywhere(pattern: str) -> None:
    """What a token is issued for is what the consumer takes, and what both documents say."""
    _compare_watch(pattern)


@given(NEAR_PATTERNS)
def test_any_text_is_a_watch_pattern_everywhere_or_nowhere(pattern: str) -> None:
    """Whatever comes after the kind."""
    _compare_watch(pattern)
