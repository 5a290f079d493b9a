"""What stands around a server that is moved step by step: sockets, a log and a verifier."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any, Final

from consumer.core.entries import Entry
from consumer.core.grant import Grant
from consumer.edges.keys import KeysUnavailable
from consumer.edges.tokens import TokenRefused
from consumer.edges.websocket import Connection

CLOCK_S: Final = 2e9
SOON_S, LATER_S = CLOCK_S + 10, CLOCK_S + 1e6
GRANTS: Final = {
    "all": Grant(frozenset({"*"}), LATER_S),
    "brief": Grant(frozenset({"*"}), SOON_S),
    "standard": Grant(frozenset({"machine:standard"}), LATER_S),
}
TOKENS: Final = (*GRANTS, "keyless", "forged", "broken")


class Socket:
    """A transport as strict as uvloop's: what may not be written to raises."""

    def __init__(self, peer: str, *, is_tls: bool) -> None:
        self.connection: Connection
        self.inbound: list[bytes] = []  # b"" is the end
        self.is_reading = True
        self.is_lost = False
        self._peer = peer
        self._is_tls = is_tls
        self._is_closing = False
        self._has_said_all = False

    def get_extra_info(self, name: str) -> Any:
        return (self._peer, 1) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        """The test says when it is full."""

    def write(self, data: bytes) -> None:
        assert not self.is_lost, "the handle is closed"
        assert not self._has_said_all, "Cannot call write() after write_eof()"

    def can_write_eof(self) -> bool:
        return not self._is_tls

    def write_eof(self) -> None:
        assert not self._is_tls
        assert not self.is_lost, "the handle is closed"
        self._has_said_all = True

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    close = abort

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        if not self.is_reading and not self._is_closing:
            self.is_reading = True
            asyncio.get_running_loop().call_soon(self.deliver)

    def deliver(self) -> None:
        """Hand over what has come, as long as it is wanted."""
        while self.inbound and self.is_reading and not self._is_closing:
            if data := self.inbound.pop(0):
                self.connection.data_received(data)
            else:
                self.connection.eof_received()
                self.close()

    def _lose(self) -> None:
        self.connection.connection_lost(None)
        self.is_lost = True


class SlowLog:
    """A log in memory; each answer takes some turns of the loop."""

    epoch = "e"
    head = 0
    away_s = 0.0

    def __init__(self, dice: random.Random) -> None:
        self.entries: list[Entry] = []
        self._dice = dice

    async def _wait(self) -> None:
        for _ in range(self._dice.randrange(4)):
            await asyncio.sleep(0)

    async def newest(self) -> tuple[int, list[Entry]]:
        return 0, []

    def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        raise NotImplementedError

    async def read(self, after: int, upto: int) -> list[Entry]:
        await self._wait()
        return self.entries[after:upto]

    async def history(self, key: str, upto: int) -> list[Entry]:
        await self._wait()
        return [each for each in self.entries[:upto] if each.key == key]


class SlowVerifier:
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def verify(self, token: str) -> Grant:
        await asyncio.sleep(0)
        await self.may_answer.wait()
        if token == "keyless":  # noqa: S105 # no secret
            raise KeysUnavailable
        if token == "broken":  # noqa: S105 # no secret
            raise ZeroDivisionError
        if token not in GRANTS:
            raise TokenRefused("forged")
        return GRANTS[token]
