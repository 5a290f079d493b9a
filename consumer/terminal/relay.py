"""A page's WebSocket through to the consumer, with a token that the page never sees.

Frames pass as they are, both ways, each after the one before has been taken: who is slow is slow
to the consumer, too, which knows what to do. The token is renewed in the open connection.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import WSMsgType, web

from consumer.terminal.addresses import goes_by_proxy
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.tokens import Granted, Tokens

SUBPROTOCOL: Final = "statuswire.v1"
RENEWAL: Final = "statuswire-dashboard"  # the id of our own requests in the page's stream
TRY_AGAIN_S: Final = 15.0  # between renewals: a token lives a minute at least, and may fail to come
TOKEN_REFUSED: Final = 4401
BAD_GATEWAY: Final = 1014  # IANA's registry of close codes; a page takes it for a lost connection
GOING_AWAY: Final = 1001
MAX_FRAME_BYTES: Final = 1 << 20  # snapshots have 256 KiB at most
CONNECT_S: Final = 10.0


class Relay:
    """Opens one connection to the consumer for each of the page's."""

    def __init__(
        self,
        stream_url: str | None,
        tokens: Tokens,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`stream_url` None: where the tokens say."""
        self._stream_url = stream_url
        self._tokens = tokens
        self._now_s = now_s
        self._pages: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Returns when either side has ended."""
        page = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), compress=False, max_msg_size=MAX_FRAME_BYTES
        )
        await page.prepare(request)
        self._pages.add(page)
        try:
            await self._serve(page, request.query_string)
        except (CannotGoOn, aiohttp.ClientError, OSError, TimeoutError) as error:
            # A reason has 123 bytes at most (RFC 6455, section 5.5).
            reason = f"the consumer cannot be reached: {error}".encode()[:120]
            await page.close(code=BAD_GATEWAY, message=reason.decode(errors="ignore").encode())
        finally:
            self._pages.discard(page)
        return page

    async def close(self) -> None:
        """All of them: the program ends."""
        for page in tuple(self._pages):
            await page.close(code=GOING_AWAY, message=b"the dashboard's program has ended")

    async def _serve(self, page: web.WebSocketResponse, query: str) -> None:
        granted = await self._tokens.current()
        url = self._stream_url or (granted.stream_url if granted else None)
        if url is None:
            raise CannotGoOn("its address is not known", "Name it: --url.")
        headers = {"Authorization": f"Bearer {granted.token}"} if granted else {}
        async with aiohttp.ClientSession(trust_env=goes_by_proxy(url)) as http:
            try:
                async with asyncio.timeout(CONNECT_S):
                    stream = await http.ws_connect(
                        f"{url}?{query}" if query else url,
                        headers=headers,
                        protocols=(SUBPROTOCOL,),
                        max_msg_size=MAX_FRAME_BYTES,
                    )
            except aiohttp.WSServerHandshakeError as refused:
                if refused.status == HTTPStatus.UNAUTHORIZED and granted:
                    self._tokens.refused(granted)
                raise
            await self._pass(page, stream, granted)

    async def _pass(
        self,
        page: web.WebSocketResponse,
        stream: aiohttp.ClientWebSocketResponse,
        granted: Granted | None,
    ) -> None:
        ways = [
            asyncio.ensure_future(way)
            for way in (_up(page, stream), self._down(stream, page, granted))
        ]
        others = []
        if granted and granted.ends_at_s is not None:
            others.append(asyncio.ensure_future(self._renew(stream, granted)))
        try:
            await asyncio.wait([*ways, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in others:
                each.cancel()
            # Closed rather than cancelled: aiohttp drops a connection whose reading is broken off.
            await stream.close()
            await page.close()
            await asyncio.gather(*ways, *others, return_exceptions=True)
        for way in ways:
            way.result()

    async def _down(
        self,
        stream: aiohttp.ClientWebSocketResponse,
        page: web.WebSocketResponse,
        granted: Granted | None,
    ) -> None:
        told_code = None
        async for message in stream:
            if message.type is WSMsgType.TEXT and not _is_ours(message.data):
                if (told_code := _told_code(message.data)) == TOKEN_REFUSED and granted:
                    break
                await page.send_str(message.data)
        code = told_code or stream.close_code or BAD_GATEWAY
        if code == TOKEN_REFUSED and granted:
            # Ours, not the page's: it comes back, and the next connection has another one.
            self._tokens.refused(granted)
            await page.close(code=BAD_GATEWAY, message=b"the token is renewed")
        else:
            await page.close(code=code if _may_be_sent(code) else BAD_GATEWAY)

    async def _renew(self, stream: aiohttp.ClientWebSocketResponse, granted: Granted) -> None:
        while (renew_at_s := granted.renew_at_s()) is not None:
            # Never at once again, whatever a clock says that is not the API's.
            await asyncio.sleep(max(TRY_AGAIN_S, renew_at_s - self._now_s()))
            last = granted
            with suppress(CannotGoOn):
                granted = await self._tokens.current() or last
            if granted is not last:
                told = {"op": "token", "id": RENEWAL, "token": granted.token}
                await stream.send_str(json.dumps(told))


async def _up(page: web.WebSocketResponse, stream: aiohttp.ClientWebSocketResponse) -> None:
    async for message in page:
        if message.type is WSMsgType.TEXT:
            await stream.send_str(message.data)


def _is_ours(frame: str) -> bool:
    """An answer to a renewal of ours; looked at closely only where it may be one."""
    return RENEWAL in frame and json.loads(frame).get("id") == RENEWAL


def _told_code(frame: str) -> int | None:
    """What a server that lacks `close_codes` would close with: asyncapi.yaml, `welcome`."""
    if '"close"' not in frame or (told := json.loads(frame)).get("op") != "error":
        return None
    code: int | None = told.get("close")
    return code


def _may_be_sent(code: int) -> bool:
    """1005, 1006 and 1015 are never on the wire (RFC 6455, section 7.4.1)."""
    return code not in (1005, 1006, 1015)
