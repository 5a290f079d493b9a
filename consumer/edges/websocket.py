"""The WebSocket edge: one small asyncio.Protocol per client, over the websockets Sans-I/O core.

The library does the handshake, parses what clients send, and closes; frames to clients are made
once per event and written as they are (docs/architecture.md says what that is worth).
"""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CONNECTING, OPEN

from consumer.core import messages, watch
from consumer.core.entries import Batch
from consumer.core.grant import EVERYTHING, Grant
from consumer.core.messages import (
    BadRequest,
    CloseCode,
    Subscribe,
    Token,
    TooMany,
    Unreadable,
)
from consumer.edges import bearer, handshake, login
from consumer.edges.addresses import Address
from consumer.edges.login import LoginFailed
from consumer.edges.stream import CLOSE_S, Stream
from consumer.edges.tokens import TokenRefused, Verifier
from consumer.edges.wire import Wire

if TYPE_CHECKING:
    from consumer.edges.mass_write import Crowd
    from consumer.edges.server import Server

MAX_UNANSWERED: Final = 3
STALLED_S: Final = 30.0  # a socket that takes nothing for so long is closed as too slow
PING: Final = b"\x89\x00"  # an empty one, unmasked (RFC 6455, section 5.5.2)
PONG: Final = b"\x8a\x80"  # to it, masked: four bytes of mask follow
PONG_BYTES: Final = 6
MAX_REASON_BYTES: Final = 123  # a control frame holds 125, two of them the code (RFC 6455, 5.5)


class Connection(Stream):
    """One client's connection; the hub's `Client` once it is admitted."""

    __slots__ = ("_cohort", "_drained", "_text", "_unanswered", "crowd", "place", "seat")

    def __init__(self, server: "Server", since: float = 0.0) -> None:
        super().__init__(server, since)
        self._cohort: set[Connection] | None = None
        self.place = 0  # of its control block, to be written to with others; 0: never
        self.crowd: Crowd | None = None  # while it is ready; its to set, with the seat
        self.seat = 0
        self._unanswered = 0  # pings since it last said anything
        self._text = b""  # of a message in fragments, so far
        self._drained: asyncio.Future[None] | None = None

    # asyncio.Protocol; see also `Stream`.

    def _begin(self, peer: Address, now: float) -> None:
        super()._begin(peer, now)
        self._cohort = self._server.enrol(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cohort is None:  # never let in
            return
        if self._task is not None:
            self._task.cancel()
        if self in self._server.hub.clients:
            self._server.counts["connections_closed", self._closed_by()] += 1
            self._server.door.leave(self._bucket)
        self._cohort.discard(self)
        self._cohort = None
        self._server.dismiss(self)
        if self._server.mass is not None and self.place:
            self._server.mass.give_back(self.place)
            self.place = 0
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError())

    def pause_writing(self) -> None:
        self._step_aside()
        self.session.pause()
        if self._grant is not None:
            self._since = asyncio.get_running_loop().time()
        self._transport.pause_reading()  # or what it asks for would pile up

    def resume_writing(self) -> None:
        waited = self.session.go_on()
        self._unanswered = 0  # the ping stood in line behind what has only now been taken
        self._read_on()
        if waited:
            self.write(waited)
        if self._drained is not None and not self.session.is_paused and not self._drained.done():
            self._drained.set_result(None)

    # The hub's side; see `consumer.ports.Client`.

    def deliver(self, batch: Batch) -> bool:
        if self.session.is_clear:
            if self.crowd is not None:
                self.crowd.set_aside(self)
            if self._corked is not None:
                self._uncork()
            self._transport.write(batch.frames)
            return True
        self.session.put(batch)
        if self.session.is_overrun:
            self.close(CloseCode.TOO_SLOW, "too slow; reconnect with your cursor")
        return False

    def write(self, frame: bytes) -> None:
        if self._is_open:
            self._put(frame)
            self.session.tally.bytes += len(frame)

    @property
    def is_ready(self) -> bool:
        """Whether bytes may be written past the transport: it has none in line before them.

        Whatever makes it false steps aside, so that it need not be asked at each write. A transport
        that closes by itself says so (`connection_lost`) before its descriptor can be another's.
        """
        transport = self._transport
        return (
            self.session.is_clear
            and self.place != 0
            and self._corked is None
            and transport.get_write_buffer_size() == 0
            and not transport.is_closing()
        )

    def write_on(self, rest: bytes) -> None:
        """Have the transport write what the socket did not take."""
        self._put(rest)

    def _step_aside(self) -> None:
        if self.crowd is not None:
            self.crowd.set_aside(self)

    async def drained(self) -> None:
        if self.session.is_paused and self._is_open:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
            self._drained = None
        if not self._is_open:
            raise ConnectionResetError

    def close(self, code: int, reason: str) -> None:
        if self._is_open:
            short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            self._awake().send_close(code, short)
            self._since = asyncio.get_running_loop().time()
            self._send()

    @property
    def _is_open(self) -> bool:
        return self._state is OPEN

    # The server's side.

    def ping(self) -> None:
        """Ping; a client that leaves several unanswered is gone, or too far behind to matter.

        Several, for a ping stands in line behind all that the network and the client's own
        buffers hold: 6 MB, read within three heartbeats of 20 s, is 100 kB/s.
        """
        if self._grant is None or not self._is_open or self.session.is_paused:
            return
        if self._unanswered >= MAX_UNANSWERED:
            self.close(CloseCode.TOO_SLOW, "no answer to pings; reconnect with your cursor")
            return
        self._unanswered += 1
        self._put(PING)

    def check(self, now: float, clock_s: float) -> None:
        """End what has hung for too long, and who may watch no longer (seconds since 1970)."""
        if self._cohort is None:  # gone while others were looked at
            return
        waited = now - self._since
        state = self._state
        if self._grant is None and state in (CONNECTING, OPEN):
            if waited > self._server.door.limits.handshake_s:
                if not self._is_ending:
                    self._server.door.refuse("handshake_time")
                self.abort()
        elif state is not OPEN:
            if waited > CLOSE_S:
                self.abort()
        elif self._grant is not None and self._grant.has_expired(clock_s):
            self.close(CloseCode.TOKEN, "the token has expired")
        elif self.session.is_paused and waited > STALLED_S:
            self.close(CloseCode.TOO_SLOW, "too slow; reconnect with your cursor")

    # What is said on the wire.

    def _expects(self, data: bytes) -> bool:
        """The answer to our ping; one for each, so that it need not be counted with the others."""
        if self._unanswered and len(data) == PONG_BYTES and data.startswith(PONG):
            self._unanswered = 0
            return True
        return False

    def _pump(self) -> None:
        wire = self._awake()
        waiting = wire.events_received()
        for number, event in enumerate(waiting, 1):
            if isinstance(event, Request):
                wire.events[:0] = waiting[number:]
                self._answer(wire, event)
                return
            if isinstance(event, Frame) and wire.state is OPEN:
                self._receive(event)
            if self._task is not None:  # what was said after a token is judged by that token
                wire.events[:0] = waiting[number:]
                return
        self._send()
        if self._grant is not None:
            self._rest()

    # The handshake.

    def _answer(self, wire: Wire, request: Request) -> None:
        loop = asyncio.get_running_loop()
        peer = cast(Address, self._peer)
        response = handshake.answer(self._server, wire, request, peer, loop.time())
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._reply(response)
            return
        self._bucket = self._server.door.counted_as(peer, request.headers)
        wire.send_response(response)
        self._cork()
        self._send()
        self._authorise(request, urlsplit(request.path).query)
        loop.call_soon(self._uncork)  # behind the task that a subscription has begun

    def _authorise(self, request: Request, query: str) -> None:
        """Admit whoever may watch; close whoever may not."""
        fields = parse_qs(query)
        verifier = self._server.door.verifier
        try:
            bearer.refuse_in_address(fields)
            if verifier is None:
                self._admit(EVERYTHING, fields)
                return
            token = bearer.token_in(request.headers)
        except TokenRefused as error:
            self._server.door.refuse("token")
            self.close(CloseCode.TOKEN, str(error))
            return
        self._hold(self._log_in(verifier, token, fields))

    async def _log_in(self, verifier: Verifier, token: str, fields: dict[str, list[str]]) -> None:
        try:
            grant = await login.grant_of(verifier, token, self._server.door.limits.handshake_s)
        except LoginFailed as error:
            self._server.door.refuse("token")
            self.close(error.code, error.reason)
        else:
            if self._is_open:
                self._cork()
                self._admit(grant, fields)
                asyncio.get_running_loop().call_soon(self._uncork)
        self._resume()

    def _admit(self, grant: Grant, fields: dict[str, list[str]]) -> None:
        if not self._server.door.admit(self, self._bucket):
            self.close(CloseCode.OVER_CAPACITY, "too many viewers; try again later")
            return
        self._grant = grant
        self._peer = None
        self._size = 0
        if self._server.mass is not None and self._transport.get_extra_info("sslcontext") is None:
            socket = self._transport.get_extra_info("socket")
            self.place = self._server.mass.enrol(socket.fileno())
        self._server.hub.admit(self)
        self._server.counts["connections_opened", ""] += 1
        self.write(messages.welcome(self._server.heartbeat_s))
        self._subscribe_by(fields)
        self._rest()

    def _subscribe_by(self, fields: dict[str, list[str]]) -> None:
        """Subscribe to what the address asks for, if anything: a bare client need not speak."""
        if "watch" not in fields:
            return
        try:
            messages.check_watch(fields["watch"], self._server.door.limits)
            since = fields["since"][0] if "since" in fields else None
            self._subscribe(Subscribe(watch=fields["watch"], since=since))
        except watch.BadWatch as error:
            self.write(messages.failure(BadRequest("bad_watch", str(error))))
            self.close(CloseCode.MALFORMED, "bad watch in the address")
        except BadRequest as error:
            self.write(messages.failure(error))
            self.close(CloseCode.MALFORMED, error.message)

    # The client's messages.

    def _receive(self, frame: Frame) -> None:
        self._unanswered = 0  # whatever it says, it is there
        if frame.opcode is Opcode.BINARY:
            self.close(CloseCode.MALFORMED, "messages are text")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._text += frame.data
            if frame.fin:
                text, self._text = self._text, b""
                self._obey(text)

    def _obey(self, text: bytes) -> None:
        self._server.counts["messages_from_clients", ""] += 1
        try:
            request = messages.decode(text, self._server.door.limits)
            if isinstance(request, messages.Ping):
                self.write(messages.pong(request.id))
            elif isinstance(request, Token):
                self._renew(request)
            elif isinstance(request, Subscribe):
                self._subscribe(request)
            else:
                self._server.hub.request(self, request)
        except Unreadable as error:
            self.close(CloseCode.MALFORMED, str(error))
        except TooMany as error:
            self.close(CloseCode.TOO_MANY, str(error))
        except BadRequest as error:
            self.write(messages.failure(error))

    def _subscribe(self, request: Subscribe) -> None:
        if self._grant is None or self._grant.refused(request.watch):
            self.close(CloseCode.FORBIDDEN, "the token does not cover this watch")
        else:
            self._server.hub.request(self, request)

    def _renew(self, request: Token) -> None:
        verifier = self._server.door.verifier
        if verifier is None:
            raise BadRequest("no_token_needed", "this server asks for none", request.id)
        self._hold(self._replace_grant(verifier, request))

    async def _replace_grant(self, verifier: Verifier, request: Token) -> None:
        within_s = self._server.door.limits.handshake_s
        try:
            grant = await login.grant_of(verifier, request.token, within_s)
        except LoginFailed as error:
            self.close(error.code, error.reason)
        else:
            self._take_up(grant, request.id)
        self._resume()

    def _take_up(self, grant: Grant, id_: str | None) -> None:
        if grant.refused(self.session.told_of()):
            self.close(CloseCode.FORBIDDEN, "the new token does not cover what is watched")
        elif self._is_open:
            self._grant = grant
            self.write(messages.renewed(id_, grant.expires_s or 0.0))

    def _closed_by(self) -> str:
        """The code that we closed with; `client` where it began, `none` where nobody said one."""
        if self._wire is None:
            return "none"
        if self._wire.close_rcvd_then_sent:
            return "client"
        return str(self._wire.close_sent.code) if self._wire.close_sent else "none"
