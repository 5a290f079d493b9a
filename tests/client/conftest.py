"""A scripted server, and streams of both shells that are closed in the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from consumer.client import backoff
from tests.client.scripted import Async, Blocking, Reader, Script, scripted

Dial = Callable[..., Reader]


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as script:
        yield script


@pytest.fixture(params=[Async, Blocking], ids=["async", "blocking"])
async def dial(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Dial]:
    """Makes a stream; it comes back soon."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    async with AsyncExitStack() as closing:

        def make(url: str, **options: Any) -> Reader:
            reader: Reader = request.param(url, **options)
            closing.push_async_callback(reader.close)
            return reader

        yield make
