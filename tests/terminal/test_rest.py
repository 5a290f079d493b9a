"""Requests to the REST API: signed, and told apart by what became of them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.terminal.account import Account, region_in
from consumer.terminal.addresses import Addresses
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.rest import Answer, RestApi, refusal
from tests.terminal.signed_api import ENVIRONMENT, SignedApi, signed_api


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of the machine's own."""
    for name in ("AWS_PROFILE", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the API knows."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def api() -> AsyncIterator[SignedApi]:
    async with signed_api() as api:
        yield api


def client(api: SignedApi, account: Account | None) -> RestApi:
    return RestApi(Addresses(None, api.url, "test"), account)


@pytest.mark.usefixtures("credentials")
async def test_requests_are_signed(api: SignedApi) -> None:
    """With a body and without; the API checks every byte of it."""
    api.answers = {"/express-instance": (200, {"state": "pending"}), "/executions/a-1": (200, {})}
    async with client(api, Account()) as rest:
        answer = await rest.post("/express-instance", {"instance_id": "i-0abc12345678def90"})
        assert answer == Answer(200, {"state": "pending"})
        assert (await rest.get("/executions/a-1")).is_ok
    (posted, got) = api.asked
    assert json.loads(posted[2]) == {"instance_id": "i-0abc12345678def90"}
    assert got == ("GET", "/executions/a-1", b"")


async def test_without_credentials_the_refusal_says_what_to_do(api: SignedApi) -> None:
    """To sign in."""
    async with client(api, Account()) as rest:
        with pytest.raises(CannotGoOn) as refused:
            await rest.get("/executions/a-1")
    assert "aws sso login" in refused.value.fix


@pytest.mark.usefixtures("credentials")
async def test_a_region_that_is_another_is_refused(api: SignedApi) -> None:
    """So the one that was asked for is the one that is signed."""
    async with client(api, Account(region="us-east-1")) as rest:
        assert (await rest.get("/executions/a-1")).status == 403


async def test_the_demo_sees_no_credentials(api: SignedApi) -> None:
    """Nothing signs there."""
    async with client(api, None) as rest:
        answer = await rest.get("/executions/a-1")
    assert answer.message == "Missing Authentication Token"


def test_a_region_stands_in_the_address() -> None:
    """A domain of one's own has none."""
    assert region_in("https://abc123.execute-api.eu-west-1.amazonaws.com/live") == "eu-west-1"
    assert region_in("https://abc123.execute-api.cn-north-1.amazonaws.com.cn/x") == "cn-north-1"
    assert region_in("https://execute-api.eu-west-1.amazonaws.com.evil.example/live") is None


async def test_an_api_that_is_not_there_is_told(api: SignedApi) -> None:
    """With its address."""
    addresses = Addresses(None, "http://127.0.0.1:9/live", "demo", is_demo=True)
    async with RestApi(addresses, None) as rest:
        with pytest.raises(CannotGoOn, match=r"127\.0\.0\.1:9") as failed:
            await rest.get("/executions/a-1")
    assert "make demo" in failed.value.fix


async def test_an_api_that_nobody_knows_is_told() -> None:
    """With the options that name it."""
    async with RestApi(Addresses("wss://x/v1/status", None, "x"), None) as rest:
        with pytest.raises(CannotGoOn) as failed:
            await rest.get("/executions/a-1")
    assert "--rest-url" in failed.value.fix


def test_a_refusal_has_the_apis_own_words() -> None:
    """And what to do about it."""
    error = refusal(Answer(403, {"error": "forbidden", "message": "not you"}), "stop i-1")
    assert str(error) == "stop i-1 was refused: forbidden: not you"
    assert "execute-api:Invoke" in error.fix
    assert "502" in str(refusal(Answer(502, "<html>"), "stop i-1"))


def test_a_profile_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(CannotGoOn, match="nobody") as failed:
        Account(profile="nobody").outputs("statuswire")
    assert "--profile" in failed.value.fix


def test_a_region_that_is_none_is_told() -> None:
    """With the option that names it."""
    with pytest.raises(CannotGoOn) as failed:
        Account().outputs("statuswire")
    assert "--region" in failed.value.fix


def test_a_stacks_outputs_say_where_its_api_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for which region requests are signed; a stack that has no API is another's."""
    account, addresses = Account(), Addresses(None, None, "stack mine", stack="mine")
    outputs = {"RestApiUrl": "https://a.example/live", "Region": "eu-west-1"}
    monkeypatch.setattr(account, "outputs", lambda _: outputs)
    found = account.complete(addresses)
    assert (found.rest_url, found.region) == ("https://a.example/live", "eu-west-1")
    outputs.clear()
    with pytest.raises(CannotGoOn, match="no output RestApiUrl"):
        account.complete(addresses)
