"""Both shells at a real server's door, with tokens that it verifies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.client import Forbidden, Live, Lost, Snapshot, Status, TokenRefused
from tests.client.conftest import Dial
from tests.client.scripted import items
from tests.conformance.consumer import Consumer, serving
from tests.conformance.stories import Run

BRIEF_S = 2.0  # long enough to be let in on a busy machine


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Consumer]:
    async with serving(tmp_path) as guarded:
        yield guarded


async def test_a_connection_outlives_its_tokens(guarded: Consumer, dial: Dial) -> None:
    """Each is renewed in time: one connection, and what comes after the first one's end is told."""
    asked: list[str] = []

    def renew() -> str:
        asked.append(guarded.token("*", lifetime_s=BRIEF_S))
        return asked[-1]

    reader = dial(guarded.url, token=renew)
    await items(reader, 2)
    following = asyncio.create_task(items(reader, 1))
    while len(asked) < 3:  # noqa: ASYNC110 # in another thread
        await asyncio.sleep(0.02)
    await guarded.publish(Run().step())
    assert isinstance((await following)[0], Status)
    assert guarded.counts["connections_opened", ""] == 1


async def test_another_token_is_had_for_one_that_has_ended(guarded: Consumer, dial: Dial) -> None:
    """The server's reason is told, and the next token lets in."""
    tokens = [guarded.token("*", lifetime_s=-60), guarded.token("*")]
    reader = dial(guarded.url, token=lambda: tokens.pop(0))
    lost, snapshot, live = await items(reader, 3)
    assert isinstance(lost, Lost)
    assert "expired" in lost.why
    assert isinstance(snapshot, Snapshot)
    assert live == Live()


async def test_no_token_where_one_is_asked_for(guarded: Consumer, dial: Dial) -> None:
    """It is said at once."""
    with pytest.raises(TokenRefused, match="a token is required"):
        await dial(guarded.url).item()


async def test_what_a_token_does_not_allow(guarded: Consumer, dial: Dial) -> None:
    """Asked for all the same, it ends the stream."""
    reader = dial(guarded.url, watch=["*"], token=guarded.token("machine:express"))
    with pytest.raises(Forbidden, match="does not cover"):
        await items(reader, 1)


async def test_what_a_token_allows_is_watched(guarded: Consumer, dial: Dial) -> None:
    """Without a word about what to watch."""
    reader = dial(guarded.url, token=guarded.token("machine:express"))
    await items(reader, 2)
    run = Run("express")
    await guarded.publish(Run("standard").step(), run.step())
    (status,) = await items(reader, 1)
    assert isinstance(status, Status)
    assert status.event["instance_id"] == run.instance
