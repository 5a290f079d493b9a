"""A WebSocket client that comes, goes and stalls by a seed, and keeps what it was told."""

import asyncio
import json
import random
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.soak.oracle import Visit

AGAIN_S = 0.05
NO_CODE = 1006  # of a connection that ended without a word (RFC 6455, section 7.1.5)


class Viewer:
    """One client across its connections; it resumes from the last cursor that it was given."""

    def __init__(
        self,
        url: Callable[[], str],
        pattern: str,
        dice: random.Random,
        *,
        stay_s: float = 0.6,
        forgets: float = 0.15,
    ) -> None:
        """`url` tells where the server is by now; `forgets`: how often the cursor is lost."""
        self.pattern = pattern
        self.visits: list[Visit] = []
        self.cursor: str | None = None
        self._url = url
        self._dice = dice
        self._stay_s = stay_s
        self._forgets = forgets
        self._is_restless = True
        self._again_s = AGAIN_S  # or as long as who drains asks for

    async def run(self) -> None:
        """Come and go; to be cancelled."""
        while True:
            try:
                await self.visit()
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError, EOFError):
                again_s, self._again_s = self._again_s, AGAIN_S
                await asyncio.sleep(again_s)

    def settle(self) -> None:
        """Stay from now on."""
        self._is_restless = False

    async def visit(self) -> None:
        """One connection: read for a while, perhaps stall for a while, then vanish."""
        if self._dice.random() < self._forgets:
            self.cursor = None
        since = "" if self.cursor is None else f"&since={self.cursor}"
        visit = Visit(self.cursor)
        async with asyncio.timeout(10):
            socket = await connect(
                f"{self._url()}?watch={self.pattern}{since}",
                max_queue=None, compression=None, ping_interval=None, close_timeout=0.1,
            )  # fmt: skip
        self.visits.append(visit)
        leaves_at = asyncio.get_running_loop().time() + self._dice.expovariate(1 / self._stay_s)
        try:
            while not self._is_restless or asyncio.get_running_loop().time() < leaves_at:
                await self._read(socket, visit)
                if self._is_restless and self._dice.random() < 0.002:
                    await asyncio.sleep(self._dice.uniform(0.05, 0.3))
        except ConnectionClosed as closed:
            visit.closed = closed.rcvd.code if closed.rcvd else NO_CODE
            raise
        finally:
            socket.transport.abort()

    async def _read(self, socket: ClientConnection, visit: Visit) -> None:
        try:
            async with asyncio.timeout(0.1):
                frame = json.loads(await socket.recv())
        except TimeoutError:
            return
        visit.frames.append(frame)
        if frame["op"] == "draining":
            self._again_s = frame["retry_ms"] / 1_000
        if frame["op"] != "gap":  # worth nothing before the snapshot that follows is there
            self.cursor = frame.get("cursor", self.cursor)
