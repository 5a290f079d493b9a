"""API Gateway's side of a WebSocket API: sockets in front of functions, and `@connections`.

The emulator has such an API too, but it selects no subprotocol, so that browsers would be refused,
and answers every refused handshake with 403. Sources: API Gateway developer guide, "Work with
WebSocket APIs" (routes, `@connections`, quotas); the events are as AWS sends them.

Not played: throttling, IAM on `@connections`, the two hours of a connection, access logs.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from infra.local.places import HOST, LocalRunError

log = logging.getLogger(__name__)

# A frame's, and clients send a message as one; whoever sends more is closed with 1009.
MAX_FRAME_BYTES = 32 * 1024
MAX_MESSAGE_BYTES = 128 * 1024
IDLE_S = 600.0
ABNORMAL = 1006  # RFC 6455, section 7.4.1: there was no closing handshake
SUBPROTOCOL = "Sec-WebSocket-Protocol"

Event = dict[str, Any]
Answer = Mapping[str, Any]
Invoke = Callable[[str, Event], Awaitable[Answer]]
"""Calls the function of a route's integration. Raises `FunctionFailed`."""


class FunctionFailed(Exception):
    """It raised, could not be called, or gave no answer of a proxy integration."""


@dataclass(frozen=True)
class Routes:
    """What is deployed: the stage, and which function each route key leads to.

    `selected_by`: the property of a message by which its route is chosen, such as `op`.
    """

    stage: str
    selected_by: str
    functions: Mapping[str, str]

    def of(self, text: str) -> str:
        """The key of a message's route: `$default` where it names none that there is."""
        try:
            message = json.loads(text)
        except ValueError:
            return "$default"
        named = message.get(self.selected_by) if isinstance(message, dict) else None
        return named if isinstance(named, str) and named in self.functions else "$default"


@dataclass
class Connection:
    """One socket, from its handshake on."""

    source_ip: str
    user_agent: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    connected_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    active_s: float = field(default_factory=time.monotonic)
    socket: web.WebSocketResponse | None = None


class WebSocketGateway:
    """Serves what is deployed on one port, on loopback."""

    def __init__(self, invoke: Invoke, *, port: int = 0) -> None:
        self._invoke = invoke
        self._port = port
        self._routes = Routes("", "", {})
        self._connections: dict[str, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> str:
        """Where `@connections` is, without the stage."""
        return f"http://{HOST}:{self._port}"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{HOST}:{self._port}/{self._routes.stage}"

    async def start(self) -> None:
        """Listen; every handshake is refused before `serve`. Raises LocalRunError."""
        application = web.Application(client_max_size=MAX_MESSAGE_BYTES)
        application.router.add_get("/{stage}", self._connect)
        application.router.add_route("*", "/{stage}/@connections/{id}", self._manage)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port)
        try:
            await site.start()
        except OSError as error:
            raise LocalRunError(f"Port {self._port}, for WebSockets, is taken.") from error
        self._port = self._runner.addresses[0][1]

    def serve(self, routes: Routes) -> None:
        """From now on."""
        self._routes = routes

    async def stop(self) -> None:
        for connection in list(self._connections.values()):
            if connection.socket is not None:
                await connection.socket.close(code=WSCloseCode.GOING_AWAY)
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    # Clients.

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["stage"] != self._routes.stage:
            return web.json_response({"message": "Forbidden"}, status=HTTPStatus.FORBIDDEN)
        connection = Connection(request.remote or HOST, request.headers.get("User-Agent", ""))
        event = {**self._event(connection, "$connect", "CONNECT"), **_handshake(request)}
        try:
            answer = await self._invoke(self._routes.functions["$connect"], event)
        except FunctionFailed as error:
            log.warning("$connect: %s", error)
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        if not 200 <= (status := int(answer["statusCode"])) < 300:
            return web.Response(status=status, text=answer.get("body", ""))
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        selected = headers.get(SUBPROTOCOL.lower())
        socket = web.WebSocketResponse(
            protocols=(selected,) if selected else (),
            max_msg_size=MAX_FRAME_BYTES,
            receive_timeout=IDLE_S,
            compress=False,
        )
        await socket.prepare(request)
        connection.socket = socket
        self._connections[connection.id] = connection
        try:
            await self._listen(connection, socket)
        finally:
            await self._goodbye(connection, socket)
        return socket

    async def _listen(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        """Each message has an invocation of its own: none waits for the one before."""
        while True:
            try:
                message = await socket.receive()
            except TimeoutError:
                if time.monotonic() - connection.active_s < IDLE_S:
                    continue  # it was told something
                await socket.close(code=WSCloseCode.GOING_AWAY, message=b"Idle timeout")
                return
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            connection.active_s = time.monotonic()
            is_binary = message.type is WSMsgType.BINARY
            text = message.data.decode(errors="replace") if is_binary else message.data
            task = asyncio.create_task(self._pass_on(connection, text, is_binary=is_binary))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, connection: Connection, text: str, *, is_binary: bool) -> None:
        key = self._routes.of(text)
        event = self._event(connection, key, "MESSAGE")
        event["requestContext"]["messageId"] = uuid.uuid4().hex[:16]
        event |= {"body": text, "isBase64Encoded": is_binary}
        try:
            await self._invoke(self._routes.functions[key], event)
        except FunctionFailed as error:
            log.warning("%s: %s", key, error)
            request_id = event["requestContext"]["requestId"]
            told = {"message": "Internal server error", "connectionId": connection.id}
            if connection.socket is not None and not connection.socket.closed:
                await connection.socket.send_json({**told, "requestId": request_id})

    async def _goodbye(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        self._connections.pop(connection.id, None)
        event = self._event(connection, "$disconnect", "DISCONNECT")
        event["requestContext"]["disconnectStatusCode"] = socket.close_code or ABNORMAL
        try:
            await self._invoke(self._routes.functions["$disconnect"], event)
        except FunctionFailed as error:
            log.warning("$disconnect: %s", error)

    def _event(self, connection: Connection, key: str, kind: str) -> Event:
        now = time.time()
        context = {
            "routeKey": key,
            "eventType": kind,
            "extendedRequestId": uuid.uuid4().hex,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "messageDirection": "IN",
            "stage": self._routes.stage,
            "connectedAt": connection.connected_ms,
            "requestTimeEpoch": round(now * 1000),
            "identity": {
                "sourceIp": connection.source_ip,
                "userAgent": connection.user_agent,
            },
            "requestId": uuid.uuid4().hex,
            "domainName": HOST,
            "connectionId": connection.id,
            "apiId": "local",
        }
        return {"requestContext": context, "isBase64Encoded": False}

    # Functions.

    async def _manage(self, request: web.Request) -> web.StreamResponse:
        """`@connections`: POST sends, GET tells, DELETE ends; 410 where there is none."""
        connection = self._connections.get(request.match_info["id"])
        if connection is None or connection.socket is None or connection.socket.closed:
            return _error(HTTPStatus.GONE, "GoneException")
        socket = connection.socket
        if request.method == "POST":
            return await _post(connection, socket, request)
        if request.method == "DELETE":
            await socket.close(code=WSCloseCode.OK, message=b"Connection Closed Normally")
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.json_response({"connectedAt": connection.connected_ms})


async def _post(
    connection: Connection, socket: web.WebSocketResponse, request: web.Request
) -> web.StreamResponse:
    try:
        text = (await request.read()).decode()
    except web.HTTPRequestEntityTooLarge:
        return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PayloadTooLargeException")
    if len(text.encode()) > MAX_FRAME_BYTES:
        await socket.close(code=WSCloseCode.MESSAGE_TOO_BIG)
        return web.Response(status=HTTPStatus.OK)
    try:
        await socket.send_str(text)
    except ConnectionError:
        return _error(HTTPStatus.GONE, "GoneException")
    connection.active_s = time.monotonic()
    return web.Response(status=HTTPStatus.OK)


def _error(status: HTTPStatus, kind: str) -> web.Response:
    return web.json_response({"message": kind}, status=status, headers={"x-amzn-ErrorType": kind})


def _handshake(request: web.Request) -> Event:
    """What an event has of the request itself; empty maps are null."""
    headers = {name: request.headers.getall(name) for name in request.headers}
    query = {name: request.query.getall(name) for name in request.query}
    return {
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: each[-1] for name, each in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
    }
