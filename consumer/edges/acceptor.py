"""Accepts connections for TLS one by one: the door comes before what a TLS handshake costs."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from consumer.edges import addresses
from consumer.edges.door import Door
from consumer.edges.stream import CLOSE_S
from consumer.edges.tls import Certificates

BACKLOG: Final = 4_096
PAUSE_S: Final = 0.1  # when the system has no file left for a connection


class Arrival:
    """A connection that has not finished its TLS handshake."""

    __slots__ = ("task",)

    task: asyncio.Task[None]

    def abort(self) -> None:
        """Drop it."""
        self.task.cancel()


class Acceptor:
    """Listens, and starts TLS with the certificate that is newest at that moment."""

    def __init__(
        self,
        door: Door,
        certificates: Certificates,
        make: Callable[[float], asyncio.Protocol],
    ) -> None:
        """`make` makes a connection that came in at a time of the loop's clock."""
        self._door = door
        self._certificates = certificates
        self._make = make
        self.sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []

    async def listen(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Begin to accept, beside other processes on the same port if need be."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, _, _, _, address in dict.fromkeys(found):
            listener = socket.create_server(
                address[:2], family=family, backlog=BACKLOG, reuse_port=reuse_port
            )
            listener.setblocking(False)
            self.sockets.append(listener)
            self._accepting.append(asyncio.create_task(self._accept(listener)))

    def close(self) -> None:
        """Accept no more."""
        for task in self._accepting:
            task.cancel()
        for listener in self.sockets:
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, name = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            now = loop.time()
            arrival = Arrival()
            if self._door.enter(arrival, addresses.parse(name[0]), now):
                arrival.task = asyncio.create_task(self._encrypt(arrival, connected, now))
            else:
                connected.close()

    async def _encrypt(self, arrival: Arrival, connected: socket.socket, now: float) -> None:
        loop = asyncio.get_running_loop()
        handshake_s = self._door.limits.handshake_s
        try:
            await loop.connect_accepted_socket(
                lambda: self._make(now),
                connected,
                ssl=self._certificates.context,
                ssl_handshake_timeout=handshake_s,
                ssl_shutdown_timeout=CLOSE_S,
            )
        except OSError:  # the client's doing: ssl.SSLError, a reset, a timeout
            in_time = loop.time() - now < handshake_s
            self._door.refuse("tls" if in_time else "handshake_time")
        finally:
            self._door.half_open.pop(arrival, None)
