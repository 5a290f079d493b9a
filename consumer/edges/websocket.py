"""The WebSocket edge: one small asyncio.Protocol per client, over the websockets Sans-I/O core.

The library does the handshake, parses what clients send, and closes; frames to clients are made
once per event and written as they are (docs/architecture.md says what that is worth).
"""

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import CLOSING, OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from consumer.core import messages, watch
from consumer.core.messages import (
    BadRequest,
    CloseCode,
    Subscribe,
    Token,
    TooMany,
    Unreadable,
)
from consumer.core.session import Session

if TYPE_CHECKING:
    from consumer.edges.server import Server

PATH: Final = "/v1/status"
HANDSHAKE_S: Final = 10.0
CLOSE_S: Final = 5.0  # for the client's half of the closing handshake
MAX_UNANSWERED: Final = 3
STALLED_S: Final = 30.0  # a socket that takes nothing for so long is closed as too slow
WRITE_BUFFER_BYTES: Final = 64 * 1024  # past it the outbox takes over: 10,000 stuck ≈ 640 MB

# The library tells of every connection at INFO; we count them.
_library_log = logging.getLogger("consumer.websockets")
_library_log.setLevel(logging.ERROR)


class Connection(asyncio.Protocol):
    """One client's connection; the hub's `Client`."""

    __slots__ = (
        "_drained",
        "_fragments",
        "_protocol",
        "_server",
        "_since",
        "_transport",
        "_unanswered",
        "session",
    )

    def __init__(self, server: "Server") -> None:
        self.session = Session(server.epoch)
        self._server = server
        self._protocol = _Protocol(
            max_size=messages.MAX_MESSAGE_BYTES,
            select_subprotocol=_select_subprotocol,
            logger=_library_log,
        )
        self._since = asyncio.get_running_loop().time()  # of what `check` would end
        self._unanswered = 0  # pings since it last said anything
        self._fragments: list[bytes] = []
        self._drained: asyncio.Future[None] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._server.hub.clients:  # not so for plain HTTP
            self._server.counts["connections_closed", self._closed_by()] += 1
        self._server.dismiss(self)
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._pump()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._pump()

    def pause_writing(self) -> None:
        self.session.is_paused = True
        self._since = asyncio.get_running_loop().time()
        self._transport.pause_reading()  # or what it asks for would pile up

    def resume_writing(self) -> None:
        self.session.is_paused = False
        self._unanswered = 0  # the ping stood in line behind what has only now been taken
        self._transport.resume_reading()
        self.flush()
        if self._drained is not None and not self.session.is_paused and not self._drained.done():
            self._drained.set_result(None)

    # The hub's side; see `consumer.ports.Client`.

    def flush(self) -> None:
        if waiting := self.session.take():
            self.write(waiting)
        elif self.session.is_overrun:
            self.close(CloseCode.TOO_SLOW, "too slow; reconnect with your cursor")

    def write(self, frame: bytes) -> None:
        if self._protocol.state is OPEN:
            self._transport.write(frame)
            self._server.counts["bytes_sent", ""] += len(frame)

    async def drained(self) -> None:
        if self.session.is_paused and self._protocol.state is OPEN:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self._protocol.state is not OPEN:
            raise ConnectionResetError

    def close(self, code: int, reason: str) -> None:
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
            self._since = asyncio.get_running_loop().time()
            self._pump()

    # The server's side.

    def ping(self) -> None:
        """Ping; a client that leaves several unanswered is gone, or too far behind to matter.

        Several, for a ping stands in line behind all that the network and the client's own
        buffers hold: 6 MB, read within three heartbeats of 20 s, is 100 kB/s.
        """
        if self._protocol.state is not OPEN or self.session.is_paused:
            return
        if self._unanswered >= MAX_UNANSWERED:
            self.close(CloseCode.TOO_SLOW, "no answer to pings; reconnect with your cursor")
            return
        self._unanswered += 1
        self._protocol.send_ping(b"")
        self._pump()

    def check(self, now: float) -> None:
        """End what has hung for too long."""
        waited = now - self._since
        if self._protocol.state is OPEN:
            if self.session.is_paused and waited > STALLED_S:
                self.close(CloseCode.TOO_SLOW, "too slow; reconnect with your cursor")
        elif waited > (CLOSE_S if self._protocol.state is CLOSING else HANDSHAKE_S):
            self.abort()

    def abort(self) -> None:
        """Drop the connection, whatever it is doing."""
        self._transport.abort()

    def _pump(self) -> None:
        """Act on what the library has parsed, and write what it has to say."""
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                if (refusal := self._open(event)) is not None:
                    # Written by ourselves: the library may have failed over what came behind.
                    self._transport.write(refusal.serialize())
                    self._transport.close()
                    return
            elif isinstance(event, Frame) and self._protocol.state is OPEN:
                self._receive(event)
        self._send()

    def _send(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:  # the library's sign for the end of the stream
                self._since = asyncio.get_running_loop().time()
                self._transport.close()

    def _open(self, request: Request) -> Response | None:
        """Answer the one request of a connection; a response that is returned ends it."""
        try:
            parts = urlsplit(request.path)
        except ValueError:
            return self._protocol.reject(HTTPStatus.BAD_REQUEST, "not an address\n")
        if parts.path != PATH:
            return self._server.site.respond(request, parts.path)
        response = self._handshake(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return response
        self._protocol.send_response(response)
        self._send()
        self._server.hub.admit(self)
        self._server.counts["connections_opened", ""] += 1
        self.write(messages.welcome(self._server.heartbeat_s))
        self._subscribe_by(parts.query)
        return None

    def _handshake(self, request: Request) -> Response:
        if self._server.is_draining:
            return self._protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
        if not self._server.allows(request):
            text = "this page may not connect; name its origin in STATUSWIRE_ORIGINS\n"
            return self._protocol.reject(HTTPStatus.FORBIDDEN, text)
        response = self._protocol.accept(request)
        failed = self._protocol.eof_sent or self._protocol.close_rcvd is not None
        if failed and response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            text = "what came behind the request is not valid\n"
            return self._protocol.reject(HTTPStatus.BAD_REQUEST, text)
        return response

    def _subscribe_by(self, query: str) -> None:
        """Subscribe to what the address asks for, if anything: a bare client need not speak."""
        fields = parse_qs(query)
        if "watch" not in fields:
            return
        try:
            messages.check_watch(fields["watch"])
            since = fields["since"][0] if "since" in fields else None
            self._server.hub.request(self, Subscribe(watch=fields["watch"], since=since))
        except watch.BadWatch as error:
            self.write(messages.failure(BadRequest("bad_watch", str(error))))
            self.close(CloseCode.MALFORMED, "bad watch in the address")
        except BadRequest as error:
            self.write(messages.failure(error))
            self.close(CloseCode.MALFORMED, error.message)

    def _receive(self, frame: Frame) -> None:
        self._unanswered = 0  # whatever it says, it is there
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            if frame.data:  # empty ones are free to send, and would be kept without bound
                self._fragments.append(bytes(frame.data))
            if frame.fin:
                text = b"".join(self._fragments)
                self._fragments.clear()
                self._obey(text)
        elif frame.opcode is Opcode.BINARY:
            self.close(CloseCode.MALFORMED, "messages are text")

    def _obey(self, text: bytes) -> None:
        self._server.counts["messages_from_clients", ""] += 1
        try:
            request = messages.decode(text)
            if isinstance(request, messages.Ping):
                self.write(messages.pong(request.id))
            elif isinstance(request, Token):
                refusal = BadRequest("no_token_needed", "this server asks for none", request.id)
                self.write(messages.failure(refusal))
            else:
                self._server.hub.request(self, request)
        except Unreadable as error:
            self.close(CloseCode.MALFORMED, str(error))
        except TooMany as error:
            self.close(CloseCode.TOO_MANY, str(error))
        except BadRequest as error:
            self.write(messages.failure(error))

    def _closed_by(self) -> str:
        """The code that we closed with; `client` where it began, `none` where nobody said one."""
        if self._protocol.close_rcvd_then_sent:
            return "client"
        return str(self._protocol.close_sent.code) if self._protocol.close_sent else "none"


class _Protocol(ServerProtocol):
    """The library's, with the contract's close code for what is too large."""

    def fail(self, code: int, reason: str = "") -> None:
        if code == 1009:  # RFC 6455: message too big
            code, reason = CloseCode.MALFORMED, f"larger than {messages.MAX_MESSAGE_BYTES} bytes"
        super().fail(code, reason)


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Ours, where it is offered; a `bearer.…` beside it carries a token and is never selected."""
    ours = Subprotocol(messages.SUBPROTOCOL)
    return ours if ours in offered else None
