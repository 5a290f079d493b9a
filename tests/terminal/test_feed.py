"""The stream, as far as a server's refusals go; tests of `watch` have the rest."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from consumer.client import backoff
from consumer.client.items import Item, Lost, Snapshot
from consumer.core.grant import Grant
from consumer.edges.tokens import TokenRefused, Verifier
from consumer.terminal.addresses import Addresses
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.feed import feed
from consumer.terminal.place import Place
from consumer.terminal.rest import Answer, RestApi
from tests.edges.conftest import Service, serving


class Verifying:
    """Knows one token, which opens one machine."""

    async def verify(self, token: str) -> Grant:
        if token != "good":  # noqa: S105 # no secret
            raise TokenRefused("its audience is another")
        return Grant(frozenset({"machine:express"}), 4e9)


class Api:
    """Gives these tokens."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    async def post(self, route: str, body: object) -> Answer:
        del route, body
        ends = "2126-01-01T00:00:00.000Z"
        token = self.tokens.pop(0)
        return Answer(201, {"token": token, "expires": ends, "url": "wss://elsewhere.example/x"})


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Service]:
    """A server that asks for tokens."""
    async with serving(tmp_path, verifier=cast(Verifier, Verifying())) as service:
        yield service


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.01)
    monkeypatch.delenv("STATUSWIRE_TOKEN", raising=False)


def place(url: str, api: Api | None = None) -> Place:
    return Place(Addresses(url, None, "test"), cast(RestApi, api) if api else None)


async def until_snapshot(at: Place, pattern: str = "machine:express") -> list[Item]:
    """What is told up to the first snapshot."""
    told: list[Item] = []
    async with aclosing(feed(at, [pattern], None)) as news:
        async for each in news:
            told.append(each)
            if isinstance(each, Snapshot):
                break
    return told


async def test_a_refused_token_is_replaced_by_another(guarded: Service) -> None:
    """Its key may have been rotated away."""
    lost, snapshot = await until_snapshot(place(guarded.url, Api("old", "good")))
    assert isinstance(lost, Lost)
    assert "its audience is another" in lost.why
    assert isinstance(snapshot, Snapshot)


async def test_tokens_that_are_refused_again_end_it(guarded: Service) -> None:
    """They are another stack's: trying for ever would help nobody."""
    with pytest.raises(CannotGoOn, match="refuses the tokens") as refused:
        await until_snapshot(place(guarded.url, Api(*["old"] * 9)))
    assert "TokenAudience" in refused.value.fix


async def test_what_a_token_does_not_allow_ends_it(guarded: Service) -> None:
    """By the patterns."""
    with pytest.raises(CannotGoOn, match=r"watching \* is not allowed"):
        await until_snapshot(place(guarded.url, Api("good")), "*")


async def test_a_server_that_asks_for_a_token_says_how_to_get_one(guarded: Service) -> None:
    """Where nothing is known that gives one."""
    with pytest.raises(CannotGoOn, match="asks for a token") as refused:
        await until_snapshot(place(guarded.url))
    assert "STATUSWIRE_TOKEN" in refused.value.fix


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    """It may be restarting."""
    async with aclosing(feed(place("ws://127.0.0.1:9/v1/status"), ["*"], None)) as news:
        for _ in range(2):
            told = await anext(news)
            assert isinstance(told, Lost)
            assert "no connection" in told.why
