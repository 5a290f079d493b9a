"""What the cases ask of a WebSocket client library: text both ways, and how it ended."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Closed(Exception):
    """The connection has ended; without a closing handshake the code is 1006 (RFC 6455, 7.1.5).

    `status`: what the handshake was refused with, where it was.
    """

    def __init__(self, code: int, reason: str = "", status: int | None = None) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.status = status


class Wire(Protocol):
    """One connection, as a library offers it."""

    @property
    def subprotocol(self) -> str | None:
        """The one that the server has selected."""

    @property
    def pings(self) -> int:
        """How often the server has pinged."""

    async def send(self, message: str | bytes) -> None:
        """A text message, or a binary one. Says nothing of a connection that has ended."""

    async def receive(self) -> str:
        """The next text message. Raises `Closed`, once all before that was received."""

    async def close(self) -> None:
        """Close it with 1000, if it is not closed."""

    async def stall(self, *, on: bool) -> None:
        """Stop reading from the socket; or go on."""


class Dialler(Protocol):
    """A client library. One that lets no one set headers can carry a token as a subprotocol."""

    has_headers: bool

    async def connect(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        subprotocols: Sequence[str] = (),
    ) -> Wire:
        """Raises `Closed` with 1006 where the handshake is refused."""
