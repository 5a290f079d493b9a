"""Readers of the log's stream as cheap as can be: what is measured of them is what Redis does."""

import asyncio
import re
from typing import Final, cast

from consumer.edges.redis_log import FOLLOWED_ENTRIES

_HEAD: Final = re.compile(rb"\*1\r\n\*2\r\n\$\d+\r\n[^\r]+\r\n\*(\d+)\r\n")
_PLACE: Final = re.compile(rb"\r\n(\d+-0)\r\n")
_END: Final = b"}\r\n"  # of an event's JSON, which is each entry's last field


class Reader(asyncio.Protocol):
    """One connection that asks for what comes next, as a replica that follows does."""

    def __init__(self, stream: str, rest_s: float) -> None:
        self.replies = 0
        self.bytes = 0
        self.place = b"0-0"
        self._stream = stream.encode()
        self._rest_s = rest_s
        self._reply = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self._reply += data
        head = _HEAD.match(self._reply)
        if head is None or not self._reply.endswith(_END):
            return
        places = _PLACE.findall(self._reply)
        if len(places) == int(head[1]):
            self.replies += 1
            self.place = places[-1]
            self._reply = b""
            asyncio.get_running_loop().call_later(self._rest_s, self._ask)

    def close(self) -> None:
        self._transport.abort()

    def _ask(self) -> None:
        count = b"%d" % FOLLOWED_ENTRIES
        words = (
            b"XREAD", b"COUNT", count, b"BLOCK", b"0", b"STREAMS", self._stream, self.place
        )  # fmt: skip
        told = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self._transport.write(b"*%d\r\n%b" % (len(words), told))
