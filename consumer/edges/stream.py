"""One socket: the door, TLS, the library's parser, and a last word that arrives."""

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from websockets.http11 import Response
from websockets.protocol import CONNECTING, OPEN, State

from consumer.core.grant import Grant
from consumer.core.limits import Bucket
from consumer.core.session import Session
from consumer.edges import addresses
from consumer.edges.addresses import Address
from consumer.edges.wire import Wire

if TYPE_CHECKING:
    from consumer.edges.server import Server

CLOSE_S: Final = 5.0  # for the client's half of the closing handshake
WRITE_BUFFER_BYTES: Final = 64 * 1024  # past it the outbox takes over: 10,000 stuck ≈ 640 MB
MAX_REQUEST_BYTES: Final = 20 * 1024  # an address of 8 KiB, a token of 4 KiB, 8 KiB of the rest
TURN_BYTES: Final = 1024  # acted on at once: the smallest frames take 1.2 ms, a subscribe 20 µs
CORK_BYTES: Final = 16 * 1024  # joined at most: all of a handshake but a large snapshot
NOTHING: Final = bytearray()  # for all who have nothing waiting; nobody adds to it
MAX_DISCARDED_BYTES: Final = 256 * 1024  # of what still comes once we have said our last word


class Stream(asyncio.Protocol):
    """Bytes from and to one client; what they mean is `Connection`'s to say."""

    __slots__ = (
        "_bucket",
        "_budget",
        "_corked",
        "_grant",
        "_is_ending",
        "_is_in_line",
        "_peer",
        "_server",
        "_since",
        "_size",
        "_task",
        "_transport",
        "_unread",
        "_wire",
        "session",
    )

    def __init__(self, server: "Server", since: float = 0.0) -> None:
        """`since`: when the door let it in, by the loop's clock, where that was before TLS."""
        self._server = server  # all else costs memory, which the door may refuse
        self._since = since  # of what `check` would end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        door = self._server.door
        name = transport.get_extra_info("peername")
        if name is None:  # gone already
            self.abort()
            return
        peer = addresses.parse(name[0])
        if self._since:
            door.half_open[self] = None
            self._begin(peer, self._since)
        elif door.enter(self, peer, now := asyncio.get_running_loop().time()):
            self._begin(peer, now)
        else:
            self.abort()

    def _begin(self, peer: Address, now: float) -> None:
        limits = self._server.door.limits
        self.session = Session(self._server.hub.epoch, limits)
        self._wire: Wire | None = None  # while it has nothing to do; half-open ones cost no more
        self._budget: Bucket | None = None  # of frames, where some of it is used up
        self._peer: Address | None = peer  # until it is admitted
        self._bucket: int | None = None  # what the door counts it under
        self._grant: Grant | None = None  # until it is admitted
        self._since = now
        self._size = 0  # of the request so far; at the end, of what is discarded
        self._is_ending = False
        self._unread = NOTHING  # what waits for its turn; cheap to cut at its front
        self._corked: bytearray | None = None  # what waits to be written with what comes next
        self._is_in_line = False
        self._task: asyncio.Task[None] | None = None  # while it runs, nothing is acted on
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            self._size += len(data)
            if self._size > MAX_DISCARDED_BYTES:
                self.abort()
            return
        if self._wire is None and self._grant is not None and self._expects(data):
            return
        wire = self._awake()
        if wire.state is CONNECTING:
            self._size += len(data)
            if self._size > MAX_REQUEST_BYTES:
                response = wire.reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "")
                self._reply(response)
                return
        if self._unread:
            self._unread += data
        else:
            self._unread = bytearray(data)
        self._transport.pause_reading()
        self._get_in_line()

    @property
    def _state(self) -> State:
        if self._wire is not None:
            return self._wire.state
        return CONNECTING if self._grant is None else OPEN  # nothing was said yet; it rests

    def _awake(self) -> Wire:
        """The parser; a new one, where nothing was said yet or the last one's work was done."""
        if self._wire is None:
            self._wire = Wire(self._server.door.limits, self._budget, self._state)
        return self._wire

    def _rest(self) -> None:
        """Do without the parser until more comes: most viewers never say anything again."""
        wire = self._wire
        if wire is not None and wire.is_at_rest and self._task is None and not self._unread:
            now = asyncio.get_running_loop().time()
            self._budget = None if wire.budget.is_full(now) else wire.budget
            self._wire = None
            self._unread = NOTHING

    def _take(self, data: bytes) -> None:
        wire = self._awake()
        wire.take(data, asyncio.get_running_loop().time())
        self._look(wire)
        self._pump()

    def _look(self, wire: Wire) -> None:
        """Once it is being closed, nothing more is due to it."""
        if wire.state is not OPEN and wire.state is not CONNECTING:
            self._step_aside()
            self.session.shut()

    def _get_in_line(self) -> None:
        if not self._is_in_line:
            self._is_in_line = True
            self._server.turns.ask(self._take_turn)

    def _take_turn(self) -> None:
        """Act on some of what was read, or a flood on a few connections would hold up all."""
        self._is_in_line = False
        if (
            self._task is not None
            or self.session.is_paused
            or self._is_ending
            or self._transport.is_closing()
        ):
            return
        most = MAX_REQUEST_BYTES if self._state is CONNECTING else TURN_BYTES
        now = bytes(self._unread[:most])
        del self._unread[:most]
        self._take(now)
        self._read_on()

    def eof_received(self) -> None:
        if self._unread:  # TLS tells in one breath what was said and that no more comes
            self._take_turn()
            self._unread.clear()
        if self._task is None and not self._is_ending:
            wire = self._awake()
            wire.receive_eof()
            self._look(wire)
            self._pump()

    def abort(self) -> None:
        """Drop the connection, whatever it is doing."""
        self._step_aside()
        self._transport.abort()

    def _put(self, data: bytes) -> None:
        """Have the transport write; at once, or with what comes next."""
        self._step_aside()
        if self._corked is None:
            self._transport.write(data)
            return
        self._corked += data
        if len(self._corked) > CORK_BYTES:  # the transport is to say when it has enough
            self._uncork()

    def _cork(self) -> None:
        """Join what is written until `_uncork`: each write costs a tenth of a handshake."""
        if self._corked is None:
            self._corked = bytearray()

    def _uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked and not self._transport.is_closing():
            self._transport.write(corked)

    def _step_aside(self) -> None:
        """Have nothing written past the transport until it has nothing in line, and may go on."""
        raise NotImplementedError

    def _expects(self, data: bytes) -> bool:
        """Take what needs no parser; whether it was that."""
        raise NotImplementedError

    def _pump(self) -> None:
        """Act on what the library has parsed, and write what it has to say."""
        raise NotImplementedError

    def _send(self) -> None:
        wire = self._awake()
        self._look(wire)
        for data in wire.data_to_send():
            if data:
                self._put(data)
            else:  # the library's sign for the end of the stream
                self._end()

    def _reply(self, response: Response) -> None:
        """Answer with HTTP. By ourselves: the library may have failed over what came behind."""
        self._put(response.serialize())
        self._end()

    def _end(self) -> None:
        """Say no more, and let the client read the last word.

        A socket that is closed with bytes unread is reset, and what was written may be lost
        (RFC 1122, section 4.2.2.13): so they are read, up to a bound, until the client closes.
        """
        self._uncork()
        self._is_ending = True
        self._size = 0
        self._unread.clear()
        if self._grant is not None:
            self._since = asyncio.get_running_loop().time()
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # reset by the client meanwhile, which only reading would tell us of
                self.abort()
            else:
                self._read_on()
        else:  # TLS, which says goodbye by itself
            self._transport.close()

    def _hold(self, work: Coroutine[None, None, None]) -> None:
        """Let a task have the connection: until it calls `_resume`, nothing is read or acted on."""
        self._transport.pause_reading()
        self._task = asyncio.create_task(work)

    def _resume(self) -> None:
        self._task = None
        self._pump()
        self._read_on()

    def _read_on(self) -> None:
        if self._task is not None or self.session.is_paused or self._transport.is_closing():
            return
        if self._unread:
            self._get_in_line()
        else:
            self._transport.resume_reading()
