"""Honest readers, in a process of their own: how long after it was due each event reaches them.

A line on standard input asks for the figures since the line before.
"""

import asyncio
import contextlib
import sys
import time
from typing import cast

import msgspec
import uvloop

from tests.attacks.victim import HOST, pin, token
from tests.attacks.windows import summary

PING, PONG = b"\x89\x00", b"\x8a\x80" + bytes(4)


class Reader(asyncio.Protocol):
    """It looks for the moment in each frame."""

    def __init__(self, latencies_ms: list[float]) -> None:
        self._latencies_ms = latencies_ms
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            b"GET /v1/status?watch=* HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer %b\r\n\r\n" % token().encode()
        )

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if PING in data:
            self._transport.write(PONG)
        *whole, self._rest = (self._rest + data).split(b'"at":')
        for piece in [*whole[1:], self._rest] if whole else []:
            digits = piece[:20].split(b"}")[0]
            if digits.isdigit():
                self._latencies_ms.append((now_ns - int(digits)) / 1e6)
        self._rest = self._rest[-40:] if not whole else b""

    def connection_lost(self, exc: Exception | None) -> None:
        """An honest reader is never closed: its process ends, and the attack has won."""
        sys.exit("an honest reader was closed")


async def read(port: int, count: int) -> None:
    """Read until standard input ends."""
    loop = asyncio.get_running_loop()
    latencies_ms: list[float] = []
    for _ in range(count):
        await loop.create_connection(lambda: Reader(latencies_ms), HOST, port)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(msgspec.json.encode(summary(latencies_ms)).decode(), flush=True)
        latencies_ms.clear()


if __name__ == "__main__":
    pin(sys.argv[3])
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(read(int(sys.argv[1]), int(sys.argv[2])))
