"""The stream as news: one subscription, resumed from its cursor for as long as it is read."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiohttp

from consumer.terminal.addresses import goes_by_proxy
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.news import (
    Connection,
    Gap,
    Lag,
    News,
    Resumed,
    Skipped,
    Snapshot,
    Status,
)
from consumer.terminal.place import Place
from consumer.terminal.tokens import Granted

SUBPROTOCOL: Final = "statuswire.v1"
SUBSCRIPTION: Final = "1"
STALE_AFTER: Final = 2.25  # heartbeats: two missed, and a quarter for the way
LOST_AFTER: Final = 4.0
OPEN_WITHIN_S: Final = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Lost(Exception):
    """This connection is over; another one may do. `retry_s` as the server asked for it."""

    def __init__(self, why: str, retry_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_s = retry_s


async def feed(place: Place, patterns: Sequence[str], since: str | None) -> AsyncIterator[News]:
    """Never ends by itself. Raises `CannotGoOn` where trying again would not help."""
    stream = _Stream(place, patterns, since)
    attempt = 0
    async with aiohttp.ClientSession(
        trust_env=goes_by_proxy(place.addresses.stream_url or "")
    ) as http:
        while True:
            try:
                async for news in stream.connect(http):
                    if isinstance(news, Snapshot | Resumed):
                        attempt = 0
                    yield news
            except Lost as lost:
                pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)
                retry_s = lost.retry_s or pause / 2 + random.random() * pause / 2  # noqa: S311
                attempt += 1
                yield Connection("reconnecting", str(lost), retry_s)
                await asyncio.sleep(retry_s)


class _Stream:
    def __init__(self, place: Place, patterns: Sequence[str], since: str | None) -> None:
        self._place = place
        self._patterns = list(patterns)
        self._tokens = place.tokens(self._patterns)
        self._cursor = since
        self._may_keep = since is not None
        self._page: list[Any] = []
        self._is_live = False
        self._drain_s: float | None = None

    async def connect(self, http: aiohttp.ClientSession) -> AsyncIterator[News]:
        granted = await self._tokens.current()
        url = self._place.addresses.stream_url or (granted.stream_url if granted else None)
        if url is None:
            raise CannotGoOn("the stream's address is not known", "Name it: --url.")
        headers = {"Authorization": f"Bearer {granted.token}"} if granted else {}
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                socket = await http.ws_connect(url, headers=headers, protocols=(SUBPROTOCOL,))
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise Lost(f"{url} cannot be reached") from error
        self._page, self._is_live, self._drain_s = [], False, None
        self._may_keep = self._cursor is not None
        async with socket:
            ask: dict[str, Any] = {"op": "subscribe", "id": SUBSCRIPTION, "watch": self._patterns}
            if self._cursor:
                ask["since"] = self._cursor
            await socket.send_str(json.dumps(ask))
            async for news in self._hear(socket, granted):
                yield news

    async def _hear(
        self, socket: aiohttp.ClientWebSocketResponse, granted: Granted | None
    ) -> AsyncIterator[News]:
        heartbeat_s = OPEN_WITHIN_S / STALE_AFTER
        is_stale = False
        while True:
            factor = LOST_AFTER - STALE_AFTER if is_stale else STALE_AFTER
            try:
                message = await socket.receive(timeout=heartbeat_s * factor)
            except TimeoutError:
                if is_stale or not self._is_live:
                    raise Lost("the server is silent") from None
                is_stale = True
                yield Connection("stale", "two heartbeats were missed")
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                self._closed(socket.close_code or 1006, granted)
            frame = json.loads(message.data)
            if is_stale:
                is_stale = False
                yield Connection("live")
            if frame["op"] == "welcome":
                heartbeat_s = float(frame["heartbeat_s"])
            for news in self._take(frame):
                yield news

    def _take(self, frame: dict[str, Any]) -> list[News]:
        op, cursor = frame["op"], frame.get("cursor")
        if op == "snapshot":
            self._page += frame["events"]
            self._may_keep = not frame["more"]
            if frame["more"]:
                return []
            self._keep(cursor)
            events, self._page = tuple(self._page), []
            return [*self._live(), Snapshot(events, cursor)]
        if op == "gap":
            self._may_keep = False
            return [Gap()]
        self._keep(cursor)
        if op == "status":
            return [Status(frame["event"], cursor, bool(frame.get("late")))]
        if op == "resumed":
            return [*self._live(), Resumed(cursor)]
        if op == "skipped":
            return [Skipped(int(frame["count"]))]
        if op == "heartbeat":
            return [Lag(frame["lag_ms"])] if frame.get("lag_ms") is not None else []
        if op == "draining":
            self._drain_s = frame["retry_ms"] / 1000
        if op == "error":
            raise CannotGoOn(f"the server refused: {frame.get('message') or frame['code']}")
        return []

    def _live(self) -> list[News]:
        self._is_live = True
        return [Connection("live")]

    def _keep(self, cursor: str | None) -> None:
        if cursor and self._may_keep:
            self._cursor = cursor

    def _closed(self, code: int, granted: Granted | None) -> None:
        if code == 4401:
            if granted is None:
                raise CannotGoOn("this server asks for a token", "export STATUSWIRE_TOKEN=…")
            self._tokens.refused(granted)
            raise Lost("the token was refused; the next try has a new one")
        if code in (4400, 4403):
            raise CannotGoOn(f"the server closed with {code}")
        raise Lost(
            "the server is restarting" if code == 1012 else "the connection was lost", self._drain_s
        )
