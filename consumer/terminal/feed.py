"""The stream as news: one subscription, resumed from its cursor for as long as it is read."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from consumer.core.messages import CloseCode
from consumer.terminal.addresses import goes_by_proxy
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.news import Connection, News, Resumed, Snapshot
from consumer.terminal.place import Place
from consumer.terminal.reading import Reading
from consumer.terminal.tokens import VARIABLE, Granted

SUBPROTOCOL: Final = Subprotocol("statuswire.v1")
SUBSCRIPTION: Final = "1"
OPEN_WITHIN_S: Final = 10.0  # a handshake that hangs is as lost as one that fails
STALE_AFTER: Final = 2.25  # heartbeats: two missed, and a quarter for the way
LOST_AFTER: Final = 4.0
MAX_FRAME_BYTES: Final = 1 << 20  # snapshots have 256 KiB at most
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_WHY: Final[dict[int | None, str]] = {
    CloseCode.DRAINING: "the server is restarting",
    CloseCode.OVER_CAPACITY: "the server is full",
    CloseCode.TOO_SLOW: "this program was too slow",
    CloseCode.TOO_MANY: "too many messages",
}


class Lost(Exception):
    """A connection is over; another one may do."""


async def feed(
    place: Place, patterns: Sequence[str], since: str | None
) -> AsyncGenerator[News, None]:
    """Never ends by itself; to be closed. Raises `CannotGoOn` where trying again would not help."""
    subscription = _Subscription(place, patterns, since)
    attempt = 0
    while True:
        try:
            async with aclosing(subscription.follow()) as told:
                async for news in told:
                    if isinstance(news, Snapshot | Resumed):
                        attempt = 0
                    yield news
        except Lost as lost:
            wait_s = subscription.reading.retry_s or _pause_s(attempt)
            attempt += 1
            yield Connection("reconnecting", str(lost), wait_s)
            await asyncio.sleep(wait_s)


def _pause_s(attempt: int) -> float:
    """Doubled up to a bound; half of it is chance, so that viewers do not come back as one."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt, 10))
    return longest / 2 + random.random() * longest / 2  # noqa: S311 # no secret


class _Subscription:
    def __init__(self, place: Place, patterns: Sequence[str], since: str | None) -> None:
        self.reading = Reading(since)
        self._stream_url = place.addresses.stream_url
        self._tokens = place.tokens(patterns)
        self._patterns = list(patterns)
        self._refusals = 0

    async def follow(self) -> AsyncGenerator[News, None]:
        """One connection. Raises `Lost`, `CannotGoOn`."""
        granted = await self._tokens.current()
        self.reading.begin()
        async with self._connected(granted) as socket:
            ask: dict[str, Any] = {"op": "subscribe", "id": SUBSCRIPTION, "watch": self._patterns}
            if self.reading.cursor:
                ask["since"] = self.reading.cursor
            try:
                await socket.send(msgspec.json.encode(ask).decode())
                async with aclosing(self._hear(socket)) as told:
                    async for news in told:
                        yield news
            except ConnectionClosed as closed:
                raise self._ending(closed, granted) from closed

    @asynccontextmanager
    async def _connected(self, granted: Granted | None) -> AsyncIterator[ClientConnection]:
        url = self._stream_url or (granted.stream_url if granted else None)
        if url is None:
            raise CannotGoOn("the stream's address is not known", "Name it: --url, --stack.")
        opening = connect(
            url,
            additional_headers={"Authorization": f"Bearer {granted.token}"} if granted else {},
            subprotocols=[SUBPROTOCOL],
            compression=None,
            open_timeout=OPEN_WITHIN_S,
            close_timeout=1,
            max_size=MAX_FRAME_BYTES,
            proxy=True if goes_by_proxy(url) else None,
        )
        try:
            socket = await opening
        except InvalidStatus as refused:
            raise _refused(url, refused.response.status_code) from refused
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise Lost(f"{url} cannot be reached") from error
        async with socket:
            yield socket

    async def _hear(self, socket: ClientConnection) -> AsyncGenerator[News, None]:
        reading, silent_heartbeats = self.reading, 0.0
        while True:
            heartbeat_s = reading.heartbeat_s or OPEN_WITHIN_S / STALE_AFTER
            bound = LOST_AFTER if silent_heartbeats else STALE_AFTER
            try:
                async with asyncio.timeout((bound - silent_heartbeats) * heartbeat_s):
                    frame = msgspec.json.decode(await socket.recv())
            except TimeoutError:
                if silent_heartbeats or not reading.is_live:
                    raise Lost("the server is silent") from None
                silent_heartbeats = STALE_AFTER
                yield Connection("stale", "two heartbeats were missed")
                continue
            if silent_heartbeats:
                silent_heartbeats = 0.0
                yield Connection("live")
            if frame.get("op") == "error":
                raise CannotGoOn(f"the server refused: {frame.get('message') or frame['code']}")
            for news in reading.read(frame):
                yield news
            if reading.is_live:
                self._refusals = 0

    def _ending(self, closed: ConnectionClosed, granted: Granted | None) -> Exception:
        """What a close code asks of us: docs/errors.md has them."""
        code = closed.rcvd.code if closed.rcvd else None
        told = f" ({closed.rcvd.reason})" if closed.rcvd and closed.rcvd.reason else ""
        if code == CloseCode.TOKEN:
            if granted is None:
                return CannotGoOn(
                    "this server asks for a token",
                    f"Name its REST API, and tokens are fetched: --stack, --rest-url. Or set"
                    f" {VARIABLE}.",
                )
            self._tokens.refused(granted)
            self._refusals += 1
            if self._refusals > 1:  # and none that was taken between the two
                return CannotGoOn(
                    f"the server refuses the tokens that the REST API gives{told}",
                    "Are both of one stack? The consumer's STATUSWIRE_AUDIENCE is that stack's"
                    " TokenAudience.",
                )
            return Lost(f"the token was refused{told}; the next try has a new one")
        if code == CloseCode.FORBIDDEN:
            return CannotGoOn(f"the token does not allow to watch {', '.join(self._patterns)}")
        if code == CloseCode.MALFORMED:
            return CannotGoOn(f"the server could not read what we said{told}")
        return Lost(_WHY.get(code, "the connection was lost"))


def _refused(url: str, status: int) -> Exception:
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) or status >= 500:
        return Lost(f"{url} answers {status}")
    return CannotGoOn(
        f"{url} answers {status}",
        "Is it a Statuswire consumer's? Its address ends in /v1/status.",
    )
