"""Tokens, and when the next one is asked for."""

from typing import Any, cast

import pytest

from consumer.terminal.exits import CannotGoOn
from consumer.terminal.rest import Answer, RestApi
from consumer.terminal.tokens import FetchedTokens, GivenToken

LIFE_S = 900


class Api:
    """Gives one token after the other, or what a test wants."""

    def __init__(self) -> None:
        self.now_s = 1_767_225_600.0  # 2026-01-01
        self.asked: list[Any] = []
        self.answer: Answer | None = None

    async def post(self, route: str, body: Any) -> Answer:
        self.asked.append((route, body))
        if self.answer:
            return self.answer
        ends = f"2026-01-01T00:{int(self.now_s - 1_767_225_600 + LIFE_S) // 60:02d}:00.000Z"
        token = {"token": f"t{len(self.asked)}", "expires": ends, "url": "wss://x/v1/status"}
        return Answer(201, token)


@pytest.fixture
def api() -> Api:
    return Api()


def tokens(api: Api) -> FetchedTokens:
    return FetchedTokens(cast(RestApi, api), ["*"], lambda: api.now_s)


async def test_one_token_serves_until_its_last_quarter(api: Api) -> None:
    """Whoever asks then gets the next one."""
    fetched = tokens(api)
    first = await fetched.current()
    assert first is not None
    assert (first.token, first.stream_url) == ("t1", "wss://x/v1/status")
    assert first.renew_at_s() == api.now_s + 675
    api.now_s += 660
    assert await fetched.current() is first
    api.now_s += 60
    second = await fetched.current()
    assert second is not None
    assert second.token.endswith("2")
    assert api.asked[0] == ("/watch-tokens", {"watch": ["*"]})


async def test_a_token_that_was_refused_is_not_used_again(api: Api) -> None:
    """Its key may have been rotated twice."""
    fetched = tokens(api)
    first = await fetched.current()
    assert first is not None
    fetched.refused(first)
    second = await fetched.current()
    assert second is not None
    assert second.token.endswith("2")
    fetched.refused(first)  # told late, by another connection
    assert await fetched.current() is second


async def test_while_the_api_fails_a_token_with_life_left_serves_on(api: Api) -> None:
    """Past its end there is none."""
    fetched = tokens(api)
    first = await fetched.current()
    api.answer = Answer(502, {"error": "signing_key_unavailable", "message": "try again later"})
    api.now_s += 720
    assert await fetched.current() is first
    api.now_s += 180
    with pytest.raises(CannotGoOn, match="signing_key_unavailable: try again later"):
        await fetched.current()


async def test_a_given_token_that_is_refused_says_what_to_do() -> None:
    """Nothing else can be used in its place."""
    given = GivenToken("t")
    granted = await given.current()
    assert granted is not None
    with pytest.raises(CannotGoOn) as refused:
        given.refused(granted)
    assert "statuswire token" in refused.value.fix


async def test_a_token_shows_in_no_trace(api: Api) -> None:
    """Nor in an assertion that fails."""
    assert "t1" not in repr(await tokens(api).current())
