"""A stand-in for the consumer and the REST API that plays what a test tells it to.

It serves the real page, under the consumer's content security policy, and leaves every frame of
the WebSocket to the test. It keeps no log and decides nothing.
"""

import asyncio
import json
import time
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import WSMsgType, web

PAGES: Final = Path(__file__).parents[2] / "consumer" / "dashboard"
WITHIN_S: Final = 10

CONTENT_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


class Viewer:
    """One WebSocket connection of the page, seen from the server."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, opening: Any) -> None:
        self._socket = socket
        self._request = request
        self.opening = opening
        """The first frame: the subscription."""

    async def send(self, **frame: Any) -> None:
        await self._socket.send_json(frame)

    async def snapshot(self, *events: dict[str, Any], cursor: str, more: bool = False) -> None:
        page = list(events)
        await self.send(op="snapshot", id=self.opening["id"], cursor=cursor, events=page, more=more)

    async def status(self, event: dict[str, Any], *, cursor: str, late: bool = False) -> None:
        mark = {"late": True} if late else {}
        await self.send(op="status", cursor=cursor, event=event, **mark)

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)

    def drop(self) -> None:
        """Ends the connection as a crash would, without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.abort()


class Stage:
    """The servers of one scenario: `async with Stage() as stage`, each on a free port."""

    def __init__(self, *, heartbeat_s: float = 20, with_rest: bool = True) -> None:
        self.heartbeat_s = heartbeat_s
        self.orders: list[Any] = []
        """Bodies that were posted to the REST API, in order, each with its `route`."""
        self.answer: tuple[int, Any] = (200, {})
        self.kept: list[dict[str, Any]] = []
        """What the log keeps of single executions."""
        self.readings: list[str] = []
        """Patterns by which the page asked for it."""
        self.clock_offset_s = 0.0
        """How far the server's clock is ahead."""
        self.page_url = ""
        self.rest_url: str | None = None
        self._with_rest = with_rest
        self._viewers: asyncio.Queue[Viewer] = asyncio.Queue()
        self._requests: list[web.Request] = []
        self._runners: list[web.AppRunner] = []

    async def viewer(self) -> Viewer:
        """The next connection whose subscription has come in."""
        return await asyncio.wait_for(self._viewers.get(), WITHIN_S)

    async def __aenter__(self) -> Self:
        rest = web.Application()
        rest.router.add_route("*", "/live/{route}", self._order)
        if self._with_rest:
            self.rest_url = await self._serve(rest) + "/live"
        self.page_url = await self._serve(self._page_server())
        return self

    def _page_server(self) -> web.Application:
        page = web.Application()
        page.router.add_get("/", self._index)
        page.router.add_get("/dashboard/{name:.+}", self._file)
        page.router.add_get("/config.json", self._config)
        page.router.add_get("/v1/status", self._stream)
        return page

    async def kill(self) -> None:
        """Ends the page's server as a crash would: connections are cut, the port is closed."""
        for request in self._requests:
            if request.transport is not None:
                request.transport.abort()
        await self._runners.pop().cleanup()

    async def revive(self) -> None:
        """Another server takes the place of the one that was killed."""
        await self._serve(self._page_server(), int(self.page_url.rpartition(":")[2]))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for runner in reversed(self._runners):
            await runner.cleanup()

    async def _serve(self, app: web.Application, port: int = 0) -> str:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _index(self, _: web.Request) -> web.Response:
        return self._page("index.html")

    async def _file(self, request: web.Request) -> web.Response:
        return self._page(request.match_info["name"])

    def _page(self, name: str) -> web.Response:
        path = PAGES / name
        rest_origin = (self.rest_url or "").removesuffix("/live")
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' {rest_origin}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return web.Response(
            text=path.read_text(),
            content_type=CONTENT_TYPES[path.suffix],
            headers={"Content-Security-Policy": policy},
        )

    async def _config(self, _: web.Request) -> web.Response:
        date = formatdate(time.time() + self.clock_offset_s, usegmt=True)
        config = {"rest_url": self.rest_url, "version": "0.0.0"}
        return web.json_response(config, headers={"Date": date})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["statuswire.v1"])
        await socket.prepare(request)
        self._requests.append(request)
        await socket.send_json({"op": "welcome", "protocol": 1, "heartbeat_s": self.heartbeat_s})
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            viewer = Viewer(socket, request, json.loads(message.data))
            watch = viewer.opening["watch"]
            if watch[0].startswith("execution:"):
                await self._read(viewer, watch[0])
            else:
                self._viewers.put_nowait(viewer)
        return socket

    async def _read(self, viewer: Viewer, pattern: str) -> None:
        """Answers who asks for one execution by what is kept of it."""
        self.readings.append(pattern)
        wanted = pattern.removeprefix("execution:")
        found = [
            event
            for event in self.kept
            if wanted in (event["execution"]["arn"], event["execution"]["name"])
        ]
        await viewer.snapshot(*found, cursor="e-1")

    async def _order(self, request: web.Request) -> web.Response:
        headers = {
            "Access-Control-Allow-Origin": self.page_url,
            "Access-Control-Allow-Headers": "Content-Type",
        }
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=headers)
        self.orders.append({**await request.json(), "route": request.match_info["route"]})
        status, body = self.answer
        return web.json_response(body, status=status, headers=headers)


def execution_event(
    status: str,
    *,
    name: str = "nightly-7",
    seq: int | None = 1,
    time: str = "2026-01-02T03:04:05.000Z",
    instance_id: str | None = "i-0abc12345678def90",
    state: str | None = "PublishChecking",
    reason: dict[str, str] | None = None,
    detail: dict[str, Any] | None = None,
    machine: str = "standard",
    source: str = "workflow",
) -> dict[str, Any]:
    """A status event of an execution, as protocol version 1 has it."""
    arn = f"arn:aws:states:us-east-1:000000000000:execution:{machine}:{name}"
    return {
        "v": 1,
        "id": f"{arn}#0#{seq}#{status}",
        "source": source,
        "instance_id": instance_id,
        "execution": {"arn": arn, "name": name, "machine": machine, "seq": seq, "redrive": 0},
        "state": state,
        "status": status,
        "time": time,
        "terminal": status in {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"},
        "reason": reason,
        "detail": detail or {},
    }


def instance_event(
    status: str,
    *,
    instance_id: str = "i-0abc12345678def90",
    time: str = "2026-01-02T03:04:05.000Z",
    reason: dict[str, str] | None = None,
    detail: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A status event of an instance, as protocol version 1 has it."""
    return {
        "v": 1,
        "id": f"{instance_id}-{status}-{time}",
        "source": "ec2",
        "instance_id": instance_id,
        "execution": None,
        "state": None,
        "status": status,
        "time": time,
        "terminal": status == "terminated",
        "reason": reason,
        "detail": detail or {},
    }
