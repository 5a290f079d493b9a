"""The JavaScript client in Chromium, by itself: what a page of somebody else's has of it."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page

from tests.browser.stage import WITHIN_S
from tests.conformance.consumer import Consumer, serving
from tests.conformance.stories import Run

pytestmark = pytest.mark.asyncio(loop_scope="session")

READ = """async (url) => {
  const { StatusStream } = await import("/dashboard/statuswire.js");
  (async () => {
    for await (const item of new StatusStream(url, { token: issue })) tell(item);
  })();
}"""


class Reader:
    """A page that reads a stream, and passes on what it is told."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        """Of the events that it was told of, in order."""
        self._items: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def begin(self, page: Page, url: str, consumer: Consumer) -> list[Any]:
        """Returns the list in which it notes why a token was asked for, each time."""
        refusals: list[Any] = []

        def issue(refusal: Any) -> str:
            refusals.append(refusal)
            return consumer.token("*")

        await page.expose_function("issue", issue)
        await page.expose_function("tell", self._items.put_nowait)
        await page.goto(url.replace("ws", "http", 1).replace("/v1/status", "/healthz"))
        await page.evaluate(READ, url)
        return refusals

    async def until(self, kind: str) -> None:
        """Wait until it is told an item of this type."""
        async with asyncio.timeout(WITHIN_S):
            while (item := await self._items.get())["type"] != kind:
                self._note(item)
        self._note(item)

    def _note(self, item: dict[str, Any]) -> None:
        events = item.get("events", [item["event"]] if "event" in item else [])
        self.ids += [event["id"] for event in events]


async def test_a_page_is_told_each_event_once(page: Page, tmp_path: Path) -> None:
    """By tokens of its own, over a drain, and with a token that the server ends."""
    run = Run()
    steps = [run.step(status) for status in ("CHECKING", "WAITING", "STARTING", "SUCCEEDED")]
    reader = Reader()
    async with serving(tmp_path) as first:
        refusals = await reader.begin(page, first.url, first)
        await reader.until("live")
        await first.publish(steps[0])
        await reader.until("status")
    async with serving(tmp_path, port=urlsplit(first.url).port or 0) as second:
        await second.publish(steps[1])
        await reader.until("resumed")
        _expire(second)
        await second.publish(steps[2])
        await reader.until("resumed")
        await second.publish(steps[3])
        await reader.until("status")
        await page.goto("about:blank")
    assert reader.ids == [step["id"] for step in steps]
    assert refusals == [None, None, {"why": "the token has expired", "wasOpen": True}]


def _expire(consumer: Consumer) -> None:
    """Let the tokens' time pass, as the server sees it."""
    for connection in consumer.server.connections:
        connection.check(0, 1e11)
