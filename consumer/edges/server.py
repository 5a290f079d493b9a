"""The WebSocket server: accepts connections and looks after them as long as they live.

One timer for all clients' heartbeats and pings, one for what hangs; none per client. Neither goes
through all of them at once.
"""

import asyncio
import contextlib
import random
import time
from functools import partial
from typing import Final

from consumer.core import messages
from consumer.core.messages import CloseCode
from consumer.edges.acceptor import BACKLOG, Acceptor
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.mass_write import MassWriter
from consumer.edges.stream import CLOSE_S
from consumer.edges.turns import Turns
from consumer.edges.websocket import Connection
from consumer.hub import Hub
from consumer.pipeline import Counts

RETRY_MS: Final = (500, 3_000)  # spreads the reconnects after a drain
SWEEP_S: Final = 1.0
SWEEPS: Final = 10  # parts of one: of 50,000 connections, 5,000 × 0.4 µs = 2 ms, and not 20
SWEPT_AT_ONCE: Final = 50  # × 20 µs for one that has to go = 1 ms; then others have their turn
COHORT_S: Final = 0.2  # at least, between one cohort's heartbeats and the next one's
MAX_COHORTS: Final = 100  # of 50,000 viewers, 500 in each: × 8 µs = 4 ms


class Server:
    """What all connections share."""

    def __init__(
        self,
        hub: Hub,
        site: Site,
        counts: Counts,
        door: Door,
        *,
        heartbeat_s: float,
        mass: MassWriter | None = None,
    ) -> None:
        self.hub = hub
        self.site = site
        self.counts = counts
        self.door = door
        self.heartbeat_s = heartbeat_s
        self.mass = mass
        self.is_draining = False
        self._cohorts: list[set[Connection]] = [
            set() for _ in range(max(1, min(MAX_COHORTS, int(heartbeat_s / COHORT_S))))
        ]
        self._enrolled = 0
        self.turns = Turns()
        self._listener: asyncio.Server | Acceptor
        self._all_gone: asyncio.Event | None = None

    async def listen(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Begin to accept; returns the port, which the system chooses where it was 0.

        `reuse_port`: other processes listen on it as well, and each connection comes to one.
        """
        if (certificates := self.door.certificates) is None:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), host, port, backlog=BACKLOG, reuse_port=reuse_port
            )
        else:
            self._listener = Acceptor(self.door, certificates, partial(Connection, self))
            await self._listener.listen(host, port, reuse_port=reuse_port)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    @property
    def connections(self) -> set[Connection]:
        """All of them, viewers or not yet."""
        return set().union(*self._cohorts)

    def enrol(self, connection: Connection) -> set[Connection]:
        """The cohort that a new connection is looked after with; it leaves it by itself."""
        self._enrolled += 1
        cohort = self._cohorts[self._enrolled % len(self._cohorts)]
        cohort.add(connection)
        return cohort

    async def beat(self) -> None:
        """Send heartbeats and pings, for ever: one cohort after another, each once in a period."""
        while True:
            for cohort in self._cohorts:
                await asyncio.sleep(self.heartbeat_s / len(self._cohorts))
                viewers = [each for each in cohort if each in self.hub.clients]
                self.hub.beat(viewers)
                for connection in viewers:
                    connection.ping()

    async def sweep(self) -> None:
        """Close, for ever: half-open handshakes, stalled readers, endless closings, old grants."""
        while True:
            for first in range(SWEEPS):
                await asyncio.sleep(SWEEP_S / SWEEPS)
                now, clock_s = asyncio.get_running_loop().time(), time.time()
                swept = [each for cohort in self._cohorts[first::SWEEPS] for each in cohort]
                for number, connection in enumerate(swept, 1):
                    connection.check(now, clock_s)
                    if number % SWEPT_AT_ONCE == 0:
                        await asyncio.sleep(0)
            self.door.sweep(asyncio.get_running_loop().time())

    async def drain(self) -> None:
        """Accept no more, tell every client when to come back, and close."""
        self.is_draining = True
        self._listener.close()
        for visitor in list(self.door.half_open):
            visitor.abort()
        self._all_gone = asyncio.Event()
        for cohort in self._cohorts:
            for connection in list(cohort):
                retry_ms = random.randint(*RETRY_MS)  # noqa: S311  # a spread, no secret
                connection.write(messages.draining(retry_ms))
                connection.close(CloseCode.DRAINING, "draining")
            await asyncio.sleep(0)  # or what they say meanwhile would wait for the last of them
        if any(self._cohorts):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), CLOSE_S)
        for connection in self.connections:
            connection.abort()

    def dismiss(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.door.half_open.pop(connection, None)
        self.hub.dismiss(connection)
        if self._all_gone is not None and not any(self._cohorts):
            self._all_gone.set()
