"""HTTP/1.1 to one address, over connections that are kept: what the two hot calls to SQS need.

httptools parses (llhttp, as Node has it); this is what stands around it. One request at a time on
each connection, as many connections as there are requests at once.
"""

import asyncio
import ssl
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from consumer.edges.tunnel import dig

CONNECT_S: Final = 5.0
IDLE_S: Final = 12.0  # below the time after which servers hang up, which would cost a request
MAX_ANSWER_BYTES: Final = 8 << 20  # SQS' largest batch is 1 MiB; escaped as JSON, 6 at the most


class BadAnswer(Exception):
    """What came is not an HTTP answer, or not one to what was asked. Asking again may help."""


class Answer(NamedTuple):
    """One response."""

    status: int
    headers: dict[bytes, bytes]
    """Names in lower case."""
    body: bytes


class Channel(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self.is_reusable = True
        self.idle_since_s = 0.0

    async def ask(self, request: bytes) -> Answer:
        """Send a request and wait for its answer. Raises `OSError`, `BadAnswer`."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def abort(self) -> None:
        """Hang up; what it was asked is not answered."""
        self.is_reusable = False
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:  # an answer that nobody asked for
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What a callback of the parser raises comes as its error's context.
            self._fail(BadAnswer(str(error.__context__ or error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("hung up before the answer was complete"))

    def _fail(self, error: Exception) -> None:
        self.abort()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._add(len(name) + len(value))
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._add(len(body))
        self._body.append(body)

    def _add(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ANSWER_BYTES:
            raise BadAnswer(f"larger than {MAX_ANSWER_BYTES} bytes")

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, body = self._headers, b"".join(self._body)
        self._headers, self._body, self._size = {}, [], 0
        if status < 200:  # RFC 9110, section 15.2: the answer is still to come
            return
        self.is_reusable = self.is_reusable and self._parser.should_keep_alive()
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            raise BadAnswer("a second answer to one request")
        if not waiting.done():
            waiting.set_result(Answer(status, headers, body))


class Channels:
    """Connections to one address; those that wait for nothing are kept for the next request."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, proxy: str | None = None) -> None:
        """`proxy`: an http:// address; everything goes through a tunnel of its CONNECT."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls if parts.scheme == "https" else None
        self._proxy = proxy
        self._idle: list[Channel] = []

    async def request(self, data: bytes, timeout_s: float) -> Answer:
        """Raises `OSError`, `TimeoutError`, `BadAnswer`."""
        loop = asyncio.get_running_loop()
        if (channel := self._kept(loop.time())) is None:
            async with asyncio.timeout(CONNECT_S):
                channel = await self._open()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await channel.ask(data)
        except BaseException:
            channel.abort()
            raise
        if channel.is_reusable:
            channel.idle_since_s = loop.time()
            self._idle.append(channel)
        return answer

    def close(self) -> None:
        """Hang up on those that are kept."""
        for channel in self._idle:
            channel.abort()
        self._idle.clear()

    def _kept(self, now_s: float) -> Channel | None:
        """The one that was used last; those that have waited for too long are let go of."""
        while self._idle:
            channel = self._idle.pop()
            if channel.is_reusable and now_s - channel.idle_since_s < IDLE_S:
                return channel
            channel.abort()
        return None

    async def _open(self) -> Channel:
        loop = asyncio.get_running_loop()
        if self._proxy is None:
            _, channel = await loop.create_connection(
                Channel, self._host, self._port, ssl=self._tls
            )
            return channel
        tunnel = await dig(self._proxy, self._host, self._port)
        channel = Channel()
        try:
            if self._tls is None:
                tunnel.set_protocol(channel)
                channel.connection_made(tunnel)
            else:
                encrypted = await loop.start_tls(
                    tunnel, channel, self._tls, server_hostname=self._host
                )
                channel.connection_made(cast(asyncio.Transport, encrypted))
        except BaseException:
            tunnel.abort()
            raise
        return channel
