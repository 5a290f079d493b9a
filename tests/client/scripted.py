"""A server that says what a test tells it to, and both shells of the client, read alike."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from consumer.client import BlockingStatusStream, Heartbeat, Item, StatusStream

PATIENCE_S: Final = 10.0
EVENT: Final = {
    "v": 1,
    "id": "e1",
    "source": "ec2",
    "instance_id": "i-0123456789abcdef0",
    "execution": None,
    "state": None,
    "status": "running",
    "time": "2026-01-01T00:00:00.000Z",
    "terminal": False,
    "reason": None,
    "detail": {},
}


class Visit:
    """One connection of the client, seen from the server."""

    def __init__(self, socket: ServerConnection, opening: dict[str, Any]) -> None:
        self._socket = socket
        self.opening = opening
        """The first message: the subscription."""

    @property
    def headers(self) -> dict[str, str]:
        """Of the handshake; names in lower case."""
        assert self._socket.request is not None
        return {name.lower(): value for name, value in self._socket.request.headers.raw_items()}

    async def say(self, op: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"op": op, **fields}))

    async def snapshot(self, cursor: str, *events: Any, more: bool = False) -> None:
        await self.say("snapshot", id="1", cursor=cursor, events=events, more=more)

    async def status(self, cursor: str, **changes: Any) -> None:
        await self.say("status", cursor=cursor, event={**EVENT, "id": cursor, **changes})

    async def hear(self) -> Any:
        """The next message of the client."""
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self._socket.recv())

    async def close(self, code: int, reason: str = "") -> None:
        await self._socket.close(code, reason)

    def drop(self) -> None:
        """End the connection as a crash would, without a closing handshake."""
        self._socket.transport.abort()

    async def left(self) -> None:
        """Wait until the client has gone."""
        async with asyncio.timeout(PATIENCE_S):
            await self._socket.wait_closed()


class Script:
    """The server's side of a test."""

    def __init__(self) -> None:
        self.port = 0
        self.welcome: dict[str, Any] = {"op": "welcome", "protocol": 1, "heartbeat_s": 20}
        self.refusals: list[int] = []
        """HTTP statuses that the next handshakes are refused with."""
        self._visits: asyncio.Queue[Visit] = asyncio.Queue()
        self._server: Server

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/status"

    async def visit(self) -> Visit:
        """The next connection whose subscription has come in."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._visits.get()

    async def live(self, cursor: str = "e-1") -> Visit:
        """The next one, which has been told what stands."""
        visit = await self.visit()
        await visit.snapshot(cursor)
        return visit

    async def welcomes(self, socket: ServerConnection) -> None:
        """A handler for `serve`."""
        try:
            await socket.send(json.dumps(self.welcome))
            self._visits.put_nowait(Visit(socket, json.loads(await socket.recv())))
        except ConnectionClosed:
            return
        await socket.wait_closed()

    def refuses(self, socket: ServerConnection, _: Request) -> Response | None:
        """A hook for `serve`."""
        return socket.respond(self.refusals.pop(0), "no\n") if self.refusals else None


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    script = Script()
    async with serve(
        script.welcomes,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("statuswire.v1")],
        process_request=script.refuses,
        close_timeout=1,
    ) as server:
        script.port = server.sockets[0].getsockname()[1]
        yield script


class Reader(Protocol):
    """A stream of either shell."""

    @property
    def cursor(self) -> str | None: ...

    async def item(self) -> Item:
        """The next thing that it yields."""

    async def close(self) -> None: ...


class Async:
    """The shell for asyncio."""

    def __init__(self, url: str, **options: Any) -> None:
        self._stream = StatusStream(url, **options)

    @property
    def cursor(self) -> str | None:
        return self._stream.cursor

    async def item(self) -> Item:
        async with asyncio.timeout(PATIENCE_S):
            return await anext(self._stream)

    async def close(self) -> None:
        await self._stream.aclose()


class Blocking:
    """The shell for threads, in one."""

    def __init__(self, url: str, **options: Any) -> None:
        self._stream = BlockingStatusStream(url, **options)

    @property
    def cursor(self) -> str | None:
        return self._stream.cursor

    async def item(self) -> Item:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.to_thread(next, self._stream)

    async def close(self) -> None:
        await asyncio.to_thread(self._stream.close)


async def items(reader: Reader, count: int) -> list[Item]:
    """The next so many, heartbeats aside."""
    found: list[Item] = []
    while len(found) < count:
        item = await reader.item()
        if not isinstance(item, Heartbeat):
            found.append(item)
    return found
