"""POST /watch-tokens, against moto's Secrets Manager."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import jwt
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from lambdas.watch_tokens import app
from tests.lambdas.proxy import CALLER, call

KEY = "k" * 64
AUDIENCE = "arn:aws:cloudformation:us-east-1:123456789012:stack/statuswire/1"
URL = "wss://statuswire.example/v1/status"
ORIGIN = "https://dashboard.example"
INSTANCE = "instance:i-0123456789abcdef0"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client that the function uses; its secret holds KEY."""
    settings = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SIGNING_KEY_ARN": "signing-key",
        "WATCH_URL": URL,
        "WATCH_TOKEN_MINUTES": "15",
        "TOKEN_AUDIENCE": AUDIENCE,
        "DASHBOARD_ORIGIN": ORIGIN,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        app.keys.cache_clear()
        client = app.keys()._client
        client.create_secret(Name="signing-key", SecretString=json.dumps({"key": KEY}))
        yield client
    app.keys.cache_clear()


def ask(body: Any, *, caller: str | None = CALLER, **identity: str) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return call(app.lambda_handler, "/watch-tokens", body=text, caller=caller, **identity)


def read(token: str, key: str = KEY) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["HS256"], audience=AUDIENCE, issuer="statuswire"
    )
    return claims


def test_a_token_says_who_may_watch_what_and_until_when() -> None:
    """Its claims, beside which nothing is promised."""
    answer = ask({"watch": [INSTANCE, "machine:express"]})
    assert answer["statusCode"] == 201
    claims = read(answer["body"]["token"])
    assert claims.keys() == {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "watch"}
    assert claims["watch"] == [INSTANCE, "machine:express"]
    assert claims["sub"] == CALLER
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert claims["nbf"] == claims["iat"]


def test_the_answer_says_how_to_use_the_token() -> None:
    """When it expires, where the WebSocket is, and what was granted."""
    body = ask({"watch": ["*"]})["body"]
    assert body.keys() == {"token", "expires", "url", "watch"}
    expires = datetime.fromisoformat(body["expires"]).timestamp()
    assert expires == read(body["token"])["exp"]
    assert body["expires"].endswith(".000Z")
    assert (body["url"], body["watch"]) == (URL, ["*"])


def test_each_token_is_another() -> None:
    """Two of the same second differ by their jti."""
    one, two = (read(ask({"watch": ["*"]})["body"]["token"]) for _ in range(2))
    assert one["jti"] != two["jti"]


def test_the_key_is_named_by_the_version_of_its_secret(secrets: Any) -> None:
    """So that a reader knows which of two valid keys signed."""
    version = secrets.get_secret_value(SecretId="signing-key")["VersionId"]
    header = jwt.get_unverified_header(ask({"watch": ["*"]})["body"]["token"])
    assert (header["kid"], header["alg"]) == (version, "HS256")


def test_a_rotated_key_signs_after_a_minute(secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one signs until then, and is AWSPREVIOUS meanwhile."""
    now = 1_700_000_000.0
    monkeypatch.setattr("lambdas.watch_tokens.app.time.time", lambda: now)
    before = jwt.get_unverified_header(ask({"watch": ["*"]})["body"]["token"])["kid"]
    rotated = secrets.put_secret_value(
        SecretId="signing-key", SecretString=json.dumps({"key": "n" * 64})
    )["VersionId"]
    now += app.KEY_KEPT_S - 1
    assert jwt.get_unverified_header(ask({"watch": ["*"]})["body"]["token"])["kid"] == before
    now += 1
    assert jwt.get_unverified_header(ask({"watch": ["*"]})["body"]["token"])["kid"] == rotated
    previous = secrets.get_secret_value(SecretId="signing-key", VersionStage="AWSPREVIOUS")
    assert previous["VersionId"] == before


def test_a_pattern_is_granted_once() -> None:
    """Repeats only cost room in the token."""
    assert ask({"watch": ["*", INSTANCE, "*"]})["body"]["watch"] == ["*", INSTANCE]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "body"),
        ("{nope", "body"),
        ("[" * 100_000, "body"),
        ("[]", "watch"),
        ("null", "watch"),
        ({}, "watch"),
        ({"watch": "*"}, "watch"),
        ({"watch": []}, "watch"),
        ({"watch": ["*"] * 65}, "watch"),
        ({"watch": [1]}, "watch[0]"),
        ({"watch": ["*", "instance:i-PRIVATE"]}, "watch[1]"),
        ({"watch": ["*\n"]}, "watch[0]"),
        ({"watch": ["execution:" + "x" * 512]}, "watch[0]"),
    ],
)
def test_a_bad_request_names_the_field_and_not_its_value(body: Any, field: str) -> None:
    """400 invalid_input, and nothing of what was sent."""
    answer = ask(body)
    assert (answer["statusCode"], answer["body"]["error"]) == (400, "invalid_input")
    assert field in answer["body"]["message"]
    assert "PRIVATE" not in answer["body"]["message"]


def long(number: int) -> str:
    return f"execution:arn:aws:states:us-east-1:123456789012:execution:m:{number:0>400}"


def test_a_token_fits_into_a_header_line() -> None:
    """As many instances as may be asked for do; what would not is refused."""
    many = [f"instance:i-{number:017x}" for number in range(app.MAX_PATTERNS)]
    assert len(ask({"watch": many})["body"]["token"]) <= app.MAX_TOKEN_CHARS
    answer = ask({"watch": [long(number) for number in range(8)]})
    assert (answer["statusCode"], answer["body"]["error"]) == (400, "invalid_input")


@pytest.mark.parametrize("caller", [None, ""])
def test_nobody_gets_no_token(caller: str | None) -> None:
    """A request that IAM did not sign off has no identity: 403."""
    answer = ask({"watch": ["*"]}, caller=caller)
    assert (answer["statusCode"], answer["body"]["error"]) == (403, "forbidden")


POOL = "cognito-idp.eu-central-1.amazonaws.com/eu-central-1_0A1b2C3d4"
ANA = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
SHARED = "arn:aws:sts::123456789012:assumed-role/statuswire-WatcherRole/CognitoIdentityCredentials"
IDENTITIES = "eu-central-1:11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("scheme", ["", "https://"])
def test_a_person_from_cognito_is_named(scheme: str) -> None:
    """Not by the role, which all people of a group have."""
    person = f"{scheme}{POOL}:CognitoSignIn:{ANA}"
    answer = ask(
        {"watch": ["*"]},
        caller=SHARED,
        cognitoIdentityPoolId=IDENTITIES,
        cognitoAuthenticationProvider=f"{scheme}{POOL},{person}",
    )
    assert answer["statusCode"] == 201
    assert read(answer["body"]["token"])["sub"] == person


@pytest.mark.parametrize(
    "provider",
    [
        "",
        POOL,
        f"{POOL}:CognitoSignIn:{ANA}",
        f"{POOL},{POOL}:CognitoSignIn:",
        f"{POOL},{POOL}:CognitoSignIn:ana@example.com",
        f"{POOL},{POOL}x:CognitoSignIn:{ANA}",
        f"{POOL},{POOL}:CognitoSignIn:{ANA},{POOL}",
        f"accounts.google.com,{POOL}:CognitoSignIn:{ANA}",
    ],
)
def test_who_came_by_cognito_and_has_no_name_gets_no_token(provider: str) -> None:
    """A guest, or somebody of another provider: the role that they share names nobody."""
    for pool in ({"cognitoIdentityPoolId": IDENTITIES}, {}):
        identity = pool | {"cognitoAuthenticationProvider": provider}
        answer = ask({"watch": ["*"]}, caller=SHARED, **identity)
        assert (answer["statusCode"], answer["body"]["error"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 429, "too_many_requests"),
        ("AccessDeniedException", 500, "internal_error"),
        ("ResourceNotFoundException", 500, "internal_error"),
        ("DecryptionFailure", 500, "internal_error"),
        ("InternalServiceError", 502, "signing_key_unavailable"),
    ],
)
def test_a_key_that_cannot_be_read_is_told_as_such(
    secrets: Any, code: str, status: int, error: str
) -> None:
    """In the shape of all errors, without AWS's own message."""
    with Stubber(secrets) as stubber:
        stubber.add_client_error("get_secret_value", code, "role/inner is not authorized")
        answer = ask({"watch": ["*"]})
    assert (answer["statusCode"], answer["body"]["error"]) == (status, error)
    assert "role" not in answer["body"]["message"]
    assert ("Retry-After" in answer["headers"]) == (status == 429)


def test_no_error_of_the_service_model_is_forgotten(secrets: Any) -> None:
    """Each that GetSecretValue documents is answered, and only its own failure with 502."""
    operation = secrets.meta.service_model.operation_model("GetSecretValue")
    told = {}
    for shape in operation.error_shapes:
        with Stubber(secrets) as stubber:
            stubber.add_client_error("get_secret_value", shape.name)
            told[shape.name] = ask({"watch": ["*"]})["statusCode"]
    assert told.pop("InternalServiceError") == 502
    assert set(told.values()) == {500}


def test_a_connection_that_fails_is_a_bad_gateway(
    secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets Manager that cannot be reached."""

    def unreachable(**_: str) -> None:
        raise ConnectTimeoutError(endpoint_url="https://secretsmanager.example")

    monkeypatch.setattr(secrets, "get_secret_value", unreachable)
    answer = ask({"watch": ["*"]})
    assert (answer["statusCode"], answer["body"]["error"]) == (502, "signing_key_unavailable")


@pytest.mark.parametrize(
    "secret", ["PRIVATE", "[]", "{}", '{"key": 1}', '{"key": "PRIVATE-and-short"}']
)
def test_a_key_that_is_none_signs_nothing(
    secrets: Any, secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """500, and not a word of what the secret holds."""
    secrets.put_secret_value(SecretId="signing-key", SecretString=secret)
    answer = ask({"watch": ["*"]})
    assert (answer["statusCode"], answer["body"]["error"]) == (500, "internal_error")
    assert "PRIVATE" not in "".join(capsys.readouterr()) + json.dumps(answer["body"])


def test_whatever_goes_wrong_has_the_shape_of_all_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing setting, say: 500 internal_error."""
    monkeypatch.delenv("TOKEN_AUDIENCE")
    answer = ask({"watch": ["*"]})
    assert (answer["statusCode"], answer["body"]["error"]) == (500, "internal_error")


def test_neither_key_nor_token_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even a part of the token that could be completed."""
    token = ask({"watch": ["*"]})["body"]["token"]
    output = "".join(capsys.readouterr())
    assert KEY not in output
    assert not any(part in output for part in token.split("."))


def test_a_key_does_not_show_itself() -> None:
    """Nor does it when something prints it."""
    assert KEY not in repr(app.SigningKey("1", 0.0, KEY))


def test_answers_are_not_cached_and_the_dashboard_may_read_them() -> None:
    """A token in a cache is a token lost; errors carry both headers, too."""
    for body in ({"watch": ["*"]}, {}):
        headers = ask(body)["headers"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
