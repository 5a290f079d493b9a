"""$default, $disconnect, the heartbeat: thin handlers over what test_ws_motion.py plays."""

from typing import Any

import pytest

from lambdas.stream import composition
from lambdas.stream.composition import BadEnvironment, Environment
from lambdas.stream.motion import Motion
from lambdas.stream.posts import PostFailed
from lambdas.ws_disconnect import app as disconnect
from lambdas.ws_heartbeat import app as heartbeat
from lambdas.ws_requests import app as requests
from tests.lambdas import websocket
from tests.lambdas.proxy import context
from tests.lambdas.stand import FOR_EVER, Stand


@pytest.fixture
def functions(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """All of them on one stand, whose clock is the machine's."""
    websocket.prepare(monkeypatch, stand)
    stand.now_ms = composition.now_ms()
    return stand


def test_who_has_just_come_is_greeted(functions: Stand) -> None:
    """By an invocation of $connect's function, and gets what its address asked for."""
    subscription = functions.request({"op": "subscribe", "watch": ["*"]})
    functions.connections.open("c", FOR_EVER, [subscription])
    functions.sockets.sent["c"] = []
    requests.lambda_handler({"greet": "c"}, context())
    assert [each["op"] for each in functions.told("c")] == ["welcome", "snapshot"]


def test_a_request_is_served(functions: Stand) -> None:
    """And answered with 200, whatever it was: the answer itself is a message."""
    functions.connect("c")
    functions.told("c")
    asked = websocket.message("c", {"op": "ping", "id": "1"})
    assert requests.lambda_handler(asked, context()) == {"statusCode": 200}
    assert functions.told("c") == [{"op": "pong", "id": "1"}]


@pytest.mark.parametrize(
    ("body", "changes"),
    [("x" * 17_000, {}), ("AAAA", {"isBase64Encoded": True}), ("x", {})],
)
def test_what_is_no_request_ends_the_connection(
    functions: Stand, body: str, changes: dict[str, Any]
) -> None:
    """Too large, binary, or not JSON."""
    functions.connect("c")
    sent = functions.sockets.sent["c"]
    requests.lambda_handler(websocket.message("c", body, **changes), context())
    assert (sent[-1]["close"], functions.rows()) == (4400, [])


def test_a_flood_of_requests_ends_the_connection(functions: Stand) -> None:
    """More than wait for whoever holds it."""
    functions.connect("c")
    sent = functions.sockets.sent["c"]
    assert functions.connections.claim("c", due=0, until_ms=functions.now_ms + 60_000)
    for _ in range(11):
        requests.lambda_handler(websocket.message("c", {"op": "ping"}), context())
    assert (sent[-1]["close"], functions.rows()) == (4429, [])


def test_a_request_of_nobody_is_let_go(functions: Stand) -> None:
    """The connection is known no more."""
    requests.lambda_handler(websocket.message("c", {"op": "ping"}), context())
    assert functions.rows() == []


def test_who_disconnects_is_forgotten(functions: Stand) -> None:
    """With all that it watched."""
    functions.connect("c", watch=["*", "machine:express"])
    disconnect.lambda_handler(websocket.goodbye("c"), context())
    assert functions.rows() == []


def test_a_message_cannot_pass_for_a_goodbye(functions: Stand) -> None:
    """Should one that names $disconnect ever be given its route."""
    functions.connect("c")
    disconnect.lambda_handler(websocket.message("c", {"op": "$disconnect"}), context())
    assert functions.rows() == ["connection#c"]


def test_everybody_gets_a_heartbeat(functions: Stand) -> None:
    """One whose turn fails keeps nobody else from it."""
    for id_ in ("a", "b", "c"):
        functions.connect(id_)
        functions.told(id_)

    def fail(id_: str, message: dict[str, Any]) -> None:
        if id_ == "b":
            raise PostFailed("LimitExceededException")

    functions.sockets.before_post = fail
    heartbeat.lambda_handler({}, context())
    told = {id_: [each["op"] for each in functions.told(id_)] for id_ in ("a", "b", "c")}
    assert told == {"a": ["heartbeat"], "b": [], "c": ["heartbeat"]}


def test_a_heartbeat_that_runs_out_of_time_begins_nothing_more(functions: Stand) -> None:
    """What is not begun, the next one does; what is ended half-way would hold its lease."""
    functions.connect("c")
    functions.told("c")
    heartbeat.lambda_handler({}, context(left_ms=100))
    assert functions.told("c") == []


def test_all_that_is_wrong_with_the_environment_is_said_at_once() -> None:
    """By name, and without the values."""
    wrong = {**websocket.ENVIRONMENT, "LOG_TABLE": "", "HEARTBEAT_S": "often"}
    del wrong["MANAGEMENT_URL"]
    with pytest.raises(BadEnvironment) as refused:
        Environment.read(wrong)
    assert str(refused.value) == "LOG_TABLE, MANAGEMENT_URL, HEARTBEAT_S"


def test_functions_are_made_of_one_motion(functions: Stand) -> None:
    """Opened by the first invocation, and kept with what it has read."""
    assert isinstance(composition.motion(), Motion)
    assert composition.motion() is composition.motion()
