"""$connect and the token route: who is let in, and who is not."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from consumer.core import events
from consumer.core.grant import Grant
from lambdas.stream import composition
from lambdas.stream.connections import Connection
from lambdas.stream.keys import Verifier
from lambdas.ws_connect import app
from tests.lambdas import websocket
from tests.lambdas.proxy import context
from tests.lambdas.stand import FOR_EVER, Stand


class Functions:
    """Whom the function asks to greet."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> None:
        self.asked.append(request)


class Secrets:
    """Secrets Manager with one secret; its newest version is AWSCURRENT."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.is_away = False

    def put(self, key: str) -> str:
        """The id of the new version."""
        self.keys.append(key)
        return f"version-{len(self.keys)}"

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, str]:  # noqa: N803
        assert SecretId == "signing-key"
        if self.is_away:
            raise ConnectTimeoutError(endpoint_url="x")
        number = len(self.keys) - (VersionStage == "AWSPREVIOUS")
        if number < 1:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "x")
        secret = json.dumps({"key": self.keys[number - 1]})
        return {"VersionId": f"version-{number}", "SecretString": secret}


class Door:
    """The function, its secret, and the tables behind it."""

    def __init__(self, stand: Stand, functions: Functions) -> None:
        self.stand = stand
        self.functions = functions
        self.secrets = Secrets()
        self.version = self.secrets.put(websocket.KEY)

    def connect(self, *, query: dict[str, list[str]] | None = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        return app.lambda_handler(websocket.handshake("c", named, query), context())

    def token(self, **changes: Any) -> str:
        return websocket.token(self.version, **changes)

    def bearer(self, **changes: Any) -> str:
        return f"Bearer {self.token(**changes)}"

    def renew(self, body: Any) -> list[dict[str, Any]]:
        """What an open connection is told of another token."""
        sent: list[dict[str, Any]] = []
        self.stand.sockets.sent["c"] = sent
        app.lambda_handler(websocket.message("c", body), context())
        return sent

    @property
    def connection(self) -> Connection:
        return self.stand.connections.look("c")


@pytest.fixture
def door(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door(stand, Functions())
    websocket.prepare(monkeypatch, stand)
    monkeypatch.setattr(app, "functions", lambda: door.functions)
    verifier = Verifier(door.secrets, "signing-key", websocket.AUDIENCE)
    monkeypatch.setattr(app, "verifier", lambda: verifier)
    return door


def test_a_token_lets_in_and_has_the_connection_greeted(door: Door) -> None:
    """By another function, once the handshake is through."""
    assert door.connect(authorization=door.bearer(watch=["machine:express"])) == {"statusCode": 200}
    assert door.connection.grant.watch == {"machine:express"}
    assert door.functions.asked == [
        {"FunctionName": "greeter", "InvocationType": "Event", "Payload": '{"greet": "c"}'}
    ]


def test_a_browser_carries_its_token_as_a_subprotocol(door: Door) -> None:
    """The other one is selected; the token never comes back."""
    answer = door.connect(sec_websocket_protocol=f"statuswire.v1, bearer.{door.token()}")
    assert answer == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "statuswire.v1"}}


def test_the_address_subscribes(door: Door) -> None:
    """As a message without an id would."""
    query = {"watch": ["machine:express", "machine:standard"], "since": ["e-1"]}
    door.connect(authorization=door.bearer(), query=query)
    (request,) = door.connection.requests
    assert json.loads(request.text) == {
        "op": "subscribe", "id": None, "watch": query["watch"], "since": "e-1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "changes", "status"),
    [
        ({"watch": ["nothing"]}, {}, 400),
        ({"watch": ["*"]}, {"watch": ["machine:express"]}, 403),
        ({"token": ["x"]}, {}, 401),
        ({}, {"exp": 1}, 401),
        ({}, {"aud": "other"}, 401),
        ({}, {"key": "x" * 64}, 401),
    ],
)
def test_a_refusal_is_a_status(
    door: Door, query: dict[str, list[str]], changes: dict[str, Any], status: int
) -> None:
    """No close code can be sent before the handshake is through; nothing is kept of it."""
    assert door.connect(authorization=door.bearer(**changes), query=query)["statusCode"] == status
    assert (door.stand.rows(), door.functions.asked) == ([], [])


def test_without_a_token_nobody_is_let_in(door: Door) -> None:
    """Nor with two."""
    assert door.connect()["statusCode"] == 401
    second = f"bearer.{door.token()}"
    answer = door.connect(authorization=door.bearer(), sec_websocket_protocol=second)
    assert answer["statusCode"] == 401


def test_a_rotated_key_lets_in_until_the_next_rotation(door: Door) -> None:
    """AWSPREVIOUS verifies too; the new one is found by its first token."""
    before = door.bearer()
    assert door.connect(authorization=before)["statusCode"] == 200
    door.version = door.secrets.put("n" * 64)
    app.verifier()._read_at_s -= 60
    assert door.connect(authorization=before)["statusCode"] == 200
    assert door.connect(authorization=door.bearer(key="n" * 64))["statusCode"] == 200


def test_forged_kids_cost_no_reads(door: Door) -> None:
    """The secret is not read again within ten seconds, whatever is asked."""
    door.connect(authorization=door.bearer())
    door.secrets.is_away = True
    forged = websocket.token("other")
    assert door.connect(authorization=f"Bearer {forged}")["statusCode"] == 401


def test_who_cannot_be_verified_may_try_again(door: Door) -> None:
    """While Secrets Manager does not answer."""
    door.secrets.is_away = True
    assert door.connect(authorization=door.bearer())["statusCode"] == 503


def test_a_token_renews_the_right_to_watch(door: Door) -> None:
    """In the open connection, and says until when."""
    expires_s = composition.now_ms() // 1000 + 1_800
    door.stand.connections.open("c", FOR_EVER)
    (answer,) = door.renew({"op": "token", "id": "4", "token": door.token(exp=expires_s)})
    expires = events.timestamp(expires_s * 1000)
    assert answer == {"op": "token", "id": "4", "expires": expires}
    assert door.connection.grant.expires_s == expires_s


@pytest.mark.parametrize(
    ("changes", "close"), [({"exp": 1}, 4401), ({"watch": ["machine:express"]}, 4403)]
)
def test_a_token_that_is_refused_ends_the_connection(
    door: Door, changes: dict[str, Any], close: int
) -> None:
    """As does one that covers less than is watched."""
    door.stand.connect("c", FOR_EVER, watch=["*"])
    (answer,) = door.renew({"op": "token", "token": door.token(**changes)})
    assert (answer["code"], answer["close"], door.stand.rows()) == ("closing", close, [])


def test_a_token_must_cover_what_has_just_been_answered(door: Door) -> None:
    """The client knows its snapshot before the function that sent it has written that down."""
    door.stand.connect("c", FOR_EVER)
    answers = []

    def renew(id_: str, message: dict[str, Any]) -> None:
        if message["op"] == "snapshot":
            narrower = door.token(watch=["machine:express"])
            answers.extend(door.renew({"op": "token", "token": narrower}))

    door.stand.sockets.before_post = renew
    door.stand.ask("c", op="subscribe", watch=["*"])
    assert [(each["code"], each["close"]) for each in answers] == [("closing", 4403)]


def test_a_token_that_is_none_is_answered(door: Door) -> None:
    """The connection stays."""
    door.stand.connect("c")
    (answer,) = door.renew({"op": "token", "id": "4"})
    assert (answer["code"], answer["id"]) == ("bad_request", "4")
    assert door.connection.grant == FOR_EVER


def test_a_message_cannot_pass_for_a_handshake(door: Door) -> None:
    """Should one that names $connect ever be given its route."""
    door.stand.connect("c")
    (answer,) = door.renew({"op": "$connect"})
    assert answer["code"] == "unknown_op"


def test_a_token_of_nobody_is_of_no_use(door: Door) -> None:
    """The connection ended meanwhile; nothing of it comes back."""
    assert door.renew({"op": "token", "token": door.token()}) == []
    assert door.stand.rows() == []


def test_the_grant_lasts_as_long_as_its_token(door: Door) -> None:
    """To the second."""
    expires_s = door.stand.now_ms // 1000 + 60
    door.stand.connections.open("c", Grant(frozenset({"*"}), float(expires_s)))
    assert door.connection.grant.expires_s == expires_s
