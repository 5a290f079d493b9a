"""Whatever bytes a connection brings, it is answered or ended as documented; nothing is raised.

`python -m tests.attacks.fuzz_handshakes 1000000` gives a million connections to the product's own
`Connection`, each a handshake and frames changed at random and cut into pieces, on a transport
that keeps what is written.
"""

import asyncio
import random
import re
import sys
from collections import Counter
from typing import Any, Final, cast

from consumer.core.grant import Grant
from consumer.core.limits import Limits
from consumer.core.messages import CloseCode, Subscribe, Unsubscribe
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.server import Server
from consumer.edges.tokens import TokenRefused, Verifier
from consumer.edges.websocket import Connection
from consumer.hub import Hub
from consumer.pipeline import Counts
from tests.attacks.attacks import CONT, FIN, PING, TEXT, frame, handshake

CLOSE, PONG = 8, 10
LIMITS: Final = Limits(
    messages_per_s=2, watches=8, fragments=4, message_bytes=2_048, handshakes_per_s=1e9
)
STATUSES: Final = {101, 200, 400, 403, 404, 405, 414, 426, 431, 505}
SEEDS: Final = (
    handshake("good"),
    handshake("good", query=b"?watch=*&since=e-1"),
    handshake("bad", b"Origin: http://x\r\nX-Forwarded-For: 1.2.3.4, [::1]:5\r\n"),
    handshake("good", b"Sec-WebSocket-Protocol: statuswire.v1, bearer.good\r\n"),
    handshake("good", b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"?token=x"),
    b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
)
FRAMES: Final = (
    frame(FIN | TEXT, b'{"op":"subscribe","id":"1","watch":["*","execution:a"]}'),
    frame(FIN | TEXT, b'{"op":"unsubscribe","watch":["*"]}'),
    frame(FIN | TEXT, b'{"op":"token","id":"2","token":"good"}'),
    frame(FIN | TEXT, b'{"op":"token","token":"bad"}'),
    frame(FIN | PING, b"?"),
    frame(TEXT, b'{"op":'), frame(CONT), frame(FIN | CONT, b'"ping"}'),
    frame(FIN | 2, b"binary"), frame(FIN | 8, b"\x03\xe8bye"), frame(FIN | 8, b"\x03"),
    frame(FIN | 10), frame(FIN | TEXT, b"\xff"), frame(FIN | TEXT, length=1 << 62),
    frame(FIN | 0x40 | TEXT, b"x"), frame(FIN | TEXT, b"x", mask=False), frame(3, b"x"),
)  # fmt: skip
INTERESTING: Final = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\x00", b"\xff", b": ", b",", b"//[", b"%00", b"?watch=x",
    b"HTTP/1.0", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n",
    b"x" * 9_000, b"A: b\r\n" * 200, b"\x89\x80\0\0\0\0" * 40,
)  # fmt: skip


class Transport:
    """Keeps what is written; closes as a real one does."""

    def __init__(self, peer: str) -> None:
        self.written = bytearray()
        self.is_closed = False
        self.is_paused = False
        self._peer = peer

    def get_extra_info(self, name: str) -> Any:
        return (self._peer, 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_closed = True

    close = write_eof = abort

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is ever full."""


class Tokens:
    """A verifier that knows one token, and may take a turn of the loop over it."""

    async def verify(self, token: str) -> Grant:
        await asyncio.sleep(0)
        if token != "good":  # noqa: S105 # no secret
            raise TokenRefused("unknown")
        return Grant(frozenset({"*"}), 4e9)


class SilentHub:
    """Who takes part; it serves nothing."""

    epoch = "e"

    def __init__(self) -> None:
        self.clients: set[Connection] = set()

    def admit(self, client: Connection) -> None:
        self.clients.add(client)

    def dismiss(self, client: Connection) -> None:
        self.clients.discard(client)

    def request(self, client: Connection, request: Subscribe | Unsubscribe) -> None:
        client.session.admit(request)


def inputs(dice: random.Random) -> bytes:
    """A request and some frames, more or less changed."""
    data = bytearray(dice.choice(SEEDS))
    for _ in range(dice.choice((0, 0, 1, 3))):
        _mutate(dice, data)
    said = bytearray(b"".join(dice.choices(FRAMES, k=dice.randint(0, 6))))
    for _ in range(dice.choice((0, 0, 1, 3))):
        _mutate(dice, said)
    return bytes(data + said)


def _mutate(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data) + 1)
    end = min(len(data), start + dice.randint(0, 8))
    roll = dice.random()
    if roll < 0.4:
        data[start:end] = dice.choice(INTERESTING)
    elif roll < 0.7:
        data[start:end] = dice.randbytes(end - start)
    else:
        del data[start:end]


async def _play(server: Server, dice: random.Random, data: bytes) -> str:
    """How one connection ended, or stands. Raises what the product should not."""
    transport = Transport(dice.choice(("127.0.0.1", "::1", "203.0.113.7", "10.0.0.1")))
    connection = Connection(server)
    connection.connection_made(cast(asyncio.Transport, transport))
    # The request in a piece of its own, mostly: what comes with it is refused.
    cut = data.find(b"\r\n\r\n") + 4
    cuts = sorted({dice.randrange(len(data) + 1), cut if dice.random() < 0.9 else 0})
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if transport.is_closed:
            break
        for _ in range(40):
            if transport.is_paused:
                await asyncio.sleep(0)
        if start < end:
            connection.data_received(data[start:end])
    for _ in range(6):
        await asyncio.sleep(0)
    if dice.random() < 0.3 and not transport.is_closed:
        connection.eof_received()
    connection.check(asyncio.get_running_loop().time() + 3_600, 5e9)
    connection.connection_lost(None)
    wire = connection._wire
    is_echo = wire is not None and wire.close_rcvd is not None
    return _ending(bytes(transport.written), is_echo=is_echo)


def _ending(written: bytes, *, is_echo: bool) -> str:
    if not written:
        return "dropped"
    status = int(re.match(rb"HTTP/1\.1 (\d+)", written)[1])  # type: ignore[index] # it must be one
    if status not in STATUSES:
        raise AssertionError(f"undocumented status {status}")
    if status != 101:
        return f"HTTP {status}"
    _, _, frames = written.partition(b"\r\n\r\n")
    codes: list[int] = []
    while frames:
        opcode, size = frames[0] & 15, frames[1]
        start = 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4], "big"), 4
        payload, frames = frames[start : start + size], frames[start + size :]
        if codes and opcode != PONG:
            raise AssertionError(f"said after the close: {opcode}")
        if opcode == CLOSE:
            codes.append(int.from_bytes(payload[:2], "big") if payload else 1005)
    if not is_echo and not set(codes) <= set(CloseCode):
        raise AssertionError(f"undocumented close code {codes}")
    return str(codes[0]) if codes else "open"


async def _run(count: int, seed: int) -> Counter[str]:
    counts = Counts()
    hub = SilentHub()
    door = Door(LIMITS, counts, verifier=cast(Verifier, Tokens()))
    server = Server(cast(Hub, hub), Site(None, list), counts, door, heartbeat_s=20.0)
    dice = random.Random(seed)
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    endings: Counter[str] = Counter()
    for number in range(count):
        data = inputs(dice)
        try:
            endings[await _play(server, dice, data)] += 1
            left = [*failed, *server.connections, *door.half_open, *hub.clients]
            assert not left
            assert not door.admitted
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {number}: {data!r}") from error
        if number % 1_000 == 0:
            door.sweep(float("inf"))
    return endings


def fuzz_handshakes(count: int, seed: int) -> Counter[str]:
    """Play so many connections; returns how they ended."""
    return asyncio.run(_run(count, seed))


if __name__ == "__main__":
    chosen = random.randrange(1_000_000)
    print(f"seed {chosen}: {fuzz_handshakes(int(sys.argv[1]), chosen)}")
