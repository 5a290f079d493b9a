"""The attacks: what one hostile connection does, and how it may end.

Each ends as the client sees it: `HTTP <status>`, the close code, `dropped` (the connection ended
without a word) or `left` (it went away itself).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from tests.attacks.victim import HOST, token

PATIENCE_S: Final = 30.0
FIN: Final = 0x80
CONT, TEXT, PING = 0, 1, 9


def handshake(bearer: str, more: bytes = b"", query: bytes = b"") -> bytes:
    """A request that would be granted, but for what is added."""
    return (
        b"GET /v1/status%b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Authorization: Bearer %b\r\n%b\r\n" % (query, bearer.encode(), more)
    )


def frame(
    head: int, payload: bytes = b"", *, mask: bool = True, length: int | None = None
) -> bytes:
    """A frame whose mask changes nothing; of a false length, if one is given."""
    size = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if size < 126:
        told = struct.pack("!BB", head, bit | size)
    elif size < 1 << 16:
        told = struct.pack("!BBH", head, bit | 126, size)
    else:
        told = struct.pack("!BBQ", head, bit | 127, size)
    return told + (bytes(4) if mask else b"") + payload


class Line:
    """One hostile connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Line":
        return cls(*await asyncio.open_connection(HOST, port))

    async def say(self, data: bytes) -> None:
        """Whatever comes of it: what counts is how the connection ends."""
        if self._writer.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def enter(self) -> None:
        """Shake hands as a viewer with a good token; raises where the door is shut."""
        await self.say(handshake(token()))
        await self._reader.readuntil(b"\r\n\r\n")

    async def ending(self) -> str:
        """How the server ends it."""
        heard = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while data := await self._reader.read(65_536):
                    heard = (heard + data)[-4_096:] if heard else data
        await self.leave()
        return _told(heard)

    async def leave(self) -> str:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        return "left"


def _told(heard: bytes) -> str:
    """What the last word was. Responses to a second request would show as another status."""
    statuses = [line[9:12].decode() for line in heard.split(b"\r\n") if line[:7] == b"HTTP/1."]
    refused = [status for status in statuses if status != "101"]
    close = heard.rfind(b"\x88")
    if close >= 0 and len(heard) >= close + 4:
        return str(int.from_bytes(heard[close + 2 : close + 4], "big"))
    return f"HTTP {' '.join(refused)}" if refused else "dropped"


async def _says(port: int, data: bytes) -> str:
    """One that says this instead of a request, or after it."""
    line = await Line.open(port)
    await line.say(data)
    return await line.ending()


async def _says_inside(port: int, data: bytes) -> str:
    """One that says this once it is a viewer."""
    line = await Line.open(port)
    try:
        await line.enter()
    except (asyncio.IncompleteReadError, ConnectionError):
        return await line.leave()
    await line.say(data)
    return await line.ending()


async def slow_loris(port: int) -> str:
    """The handshake, byte by byte."""
    line = await Line.open(port)
    for byte in handshake(token())[:40]:
        await line.say(bytes([byte]))
        await asyncio.sleep(0.1)
    return await line.ending()


async def silence(port: int) -> str:
    """Nothing at all: a half-open connection."""
    return await (await Line.open(port)).ending()


async def silence_inside(port: int) -> str:
    """A good handshake, and no answer to any ping."""
    return await _says_inside(port, b"")


async def endless_fragments(port: int) -> str:
    return await _says_inside(
        port, frame(TEXT, b'{"op":"') + b"".join(frame(CONT, b"x" * 500) for _ in range(200))
    )


async def subscriptions(port: int) -> str:
    """Subscribe and unsubscribe as fast as it goes."""
    both = b"".join(
        frame(FIN | TEXT, b'{"op":"%b","watch":["*"]}' % op)
        for op in (b"subscribe", b"unsubscribe")
    )
    return await _says_inside(port, both * 1_000)


async def never_reads(port: int) -> str:
    """A viewer of everything that takes nothing, for a while."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connected.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(connected, (HOST, port))
        await loop.sock_sendall(connected, handshake(token(), query=b"?watch=*"))
        await asyncio.sleep(3)
    except ConnectionError:
        return "dropped"
    finally:
        connected.close()
    return "left"


async def comes_and_goes(port: int) -> str:
    line = await Line.open(port)
    await line.say(handshake(token()))
    return await line.leave()


SMUGGLED: Final = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLING: Final = (
    b"POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n Transfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://y/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
)


async def smuggling(port: int) -> str:
    """Requests that two servers may read in two ways: one answer at most, and the end."""
    endings = {await _says(port, shape + SMUGGLED) for shape in SMUGGLING}
    many = [each for each in endings if each.count(" ") > 1 or not each.startswith(("HTTP", "d"))]
    return f"answered twice: {many}" if many else "HTTP once, or dropped"


class Attack(NamedTuple):
    """A row of the table in docs/security.md."""

    name: str
    what_happens: str
    one: Callable[[int], Awaitable[str]]
    """What one connection does, and how it ended."""
    endings: frozenset[str]
    """How it may end."""
    abreast: int = 20
    """Connections at once, in the long form."""
    least: int = 10
    """Connections in the short form."""


def _saying(data: bytes) -> Callable[[int], Awaitable[str]]:
    return lambda port: _says(port, data)


def _saying_inside(data: bytes) -> Callable[[int], Awaitable[str]]:
    return lambda port: _says_inside(port, data)


def _with_headers(more: bytes) -> Callable[[int], Awaitable[str]]:
    return lambda port: _says(port, handshake(token(), more))


def _forged(port: int) -> Awaitable[str]:
    return _says(port, handshake(token(key=b"not the key, but as long as it must be")))


def _ends(*how: str) -> frozenset[str]:
    """And, past a limit of the door, dropped; or over capacity."""
    return frozenset(how) | {"dropped", "1013", "left"}


ATTACKS: Final = (
    Attack(
        "slow-loris handshake, byte by byte",
        "dropped after the handshake's time",
        slow_loris,
        _ends(),
        abreast=500,
    ),
    Attack(
        "half-open connections that say nothing",
        "the oldest dropped at once, the others after the handshake's time",
        silence,
        _ends(),
        abreast=10_000,
        least=100,
    ),
    Attack(
        "ping flood",
        "closed with the first too many, however many one read brought",
        _saying_inside(frame(FIN | PING, b"x" * 125) * 5_000),
        _ends("4429"),
    ),
    Attack(
        "a message announced as 2^62 bytes",
        "closed with its header",
        _saying_inside(frame(FIN | TEXT, length=1 << 62)),
        _ends("4400"),
    ),
    Attack(
        "endless fragments",
        "closed with the first too many",
        endless_fragments,
        _ends("4400"),
    ),
    Attack(
        "zero-length fragments",
        "closed with the first too many",
        _saying_inside(frame(TEXT) + frame(CONT) * 5_000),
        _ends("4400", "4429"),
    ),
    Attack(
        "invalid UTF-8",
        "closed",
        _saying_inside(frame(FIN | TEXT, b"\xff\xfe")),
        _ends("4400"),
    ),
    Attack(
        "never reading",
        "waits in its own bound: the newest per key, then closed; these left before",
        never_reads,
        _ends(),
    ),
    Attack(
        "subscribe storm",
        "closed with the first too many that wait",
        subscriptions,
        _ends("4429"),
    ),
    Attack(
        "connect and disconnect",
        "past the rate dropped on arrival",
        comes_and_goes,
        _ends(),
        abreast=50,
        least=100,
    ),
    Attack(
        "a giant header",
        "refused at 20 KiB",
        _with_headers(b"A: %b\r\n" % (b"x" * 200_000)),
        _ends("HTTP 431"),
    ),
    Attack(
        "thousands of headers",
        "refused at 20 KiB",
        _with_headers(b"A: b\r\n" * 5_000),
        _ends("HTTP 431"),
    ),
    Attack(
        "forged tokens",
        "closed; keys are not asked for more than every 10 s",
        _forged,
        _ends("4401"),
        abreast=50,
    ),
    Attack(
        "compressed frames",
        "closed: no extension was agreed on",
        _saying_inside(frame(FIN | 0x40 | TEXT, b"x")),
        _ends("4400"),
    ),
    Attack(
        "reserved bits",
        "closed",
        _saying_inside(frame(FIN | 0x30 | TEXT, b"x")),
        _ends("4400"),
    ),
    Attack(
        "unmasked frames",
        "closed",
        _saying_inside(frame(FIN | PING, mask=False)),
        _ends("4400"),
    ),
    Attack(
        "pipelined requests",
        "one answer, and the end",
        _with_headers(b"\r\n" + SMUGGLED[:-2]),
        _ends("HTTP 400"),
    ),
    Attack(
        "request smuggling: a body, two lengths, chunks, folded and bare lines",
        "one answer at most, and the end",
        smuggling,
        _ends("HTTP once, or dropped"),
        least=1,
    ),
    Attack(
        "a handshake, then silence",
        "closed after three pings",
        silence_inside,
        _ends("4408"),
        abreast=500,
    ),
)
