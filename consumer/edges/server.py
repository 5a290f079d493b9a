"""The WebSocket server: accepts connections and looks after them as long as they live.

One timer for all clients' heartbeats and pings, one for what hangs; none per client.
"""

import asyncio
import contextlib
import random
import re
from typing import Final

from websockets.http11 import Request

from consumer.core import messages
from consumer.core.messages import CloseCode
from consumer.edges import websocket
from consumer.edges.http import Site
from consumer.edges.websocket import Connection
from consumer.hub import Hub
from consumer.pipeline import Counts

RETRY_MS: Final = (500, 3_000)  # spreads the reconnects after a drain
SWEEP_S: Final = 1.0
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Server:
    """What all connections share."""

    def __init__(
        self,
        hub: Hub,
        site: Site,
        counts: Counts,
        *,
        epoch: str,
        heartbeat_s: float,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self.hub = hub
        self.site = site
        self.counts = counts
        self.epoch = epoch
        self.heartbeat_s = heartbeat_s
        self.is_draining = False
        self.connections: set[Connection] = set()
        self._origins = origins
        self._all_gone: asyncio.Event | None = None

    async def listen(self, host: str, port: int) -> int:
        """Begin to accept; returns the port, which the system chooses where it was 0."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, backlog=4096
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def beat(self) -> None:
        """Send heartbeats and pings, for ever; one timer for all clients."""
        while True:
            await asyncio.sleep(self.heartbeat_s)
            self.hub.beat()
            for connection in list(self.connections):
                connection.ping()

    async def sweep(self) -> None:
        """Close what hangs, for ever: half-open handshakes, stalled readers, endless closings."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.check(now)

    async def drain(self) -> None:
        """Accept no more, tell every client when to come back, and close."""
        self.is_draining = True
        self._server.close()
        for connection in list(self.connections):
            if connection in self.hub.clients:
                retry_ms = random.randint(*RETRY_MS)  # noqa: S311  # a spread, no secret
                connection.write(messages.draining(retry_ms))
                connection.close(CloseCode.DRAINING, "draining")
            else:  # it has said nothing yet
                connection.abort()
        if self.connections:
            self._all_gone = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), websocket.CLOSE_S)
        for connection in list(self.connections):
            connection.abort()

    def dismiss(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.connections.discard(connection)
        self.hub.dismiss(connection)
        if self._all_gone is not None and not self.connections:
            self._all_gone.set()

    def allows(self, request: Request) -> bool:
        """Whether a browser's page may connect: our own, or one that a setting names.

        A page of another site could otherwise watch through its visitor's browser. The page's own
        origin counts on loopback names only, or a name that points here would do (DNS rebinding).
        """
        origins = request.headers.get_all("Origin")
        if not origins:
            return True  # programs send none
        hosts = request.headers.get_all("Host")
        if len(origins) != 1 or len(hosts) != 1:
            return False
        if origins[0] in self._origins:
            return True
        scheme, _, authority = origins[0].partition("://")
        name = re.sub(r":[0-9]+$", "", authority)
        return scheme == "http" and authority == hosts[0] and name in _LOOPBACK_NAMES
