"""What the cases ask of whatever delivers statuses: a place to publish to, an address, tokens.

Nothing here knows how a delivery is made. One that cannot do all of the protocol names what it
lacks, here and in its `welcome`; the cases that need it are then not asked of it.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct

Message = dict[str, Any]
"""The body of a queue's message: a publish step, or EventBridge on an execution or an instance."""

CAPABILITIES: Final = {
    "close_codes": "it ends a connection with the contract's close codes; else an error names one",
    "draining": "a server that goes away says so first, with `retry_ms` and 1012",
    "pings": "the server pings, so that the way to a silent client stays open",
    "request_order": "requests of one connection are served in the order in which they came",
    "resume": "`since` brings what came after it, then `resumed`; without, always a gap",
    "skipped": "a slow client is told how much was left out for it, instead of being cut off",
    "strictly_once": "an event comes once in a connection, and cursors rise, whatever breaks",
}


class Delivery(Protocol):
    """Statuses in, WebSockets out. It asks for tokens."""

    url: str
    """Where WebSockets connect to, without a query."""

    def token(self, *watch: str, lifetime_s: float = 900.0) -> str:
        """A token that lets its bearer watch these patterns, for so long from now."""

    async def publish(self, *messages: Message) -> None:
        """Have the queues bring these, one after the other; need not wait until they are told."""

    async def beat(self) -> None:
        """Have it send heartbeats now, where they do not come by themselves within a second."""

    async def drain(self) -> None:
        """Have it go away, as a deployment would. Not called where it lacks `draining`."""


class Kind(Struct, frozen=True):
    """A way to deliver: how one is started, in a folder of its own, and what it cannot do."""

    open: Callable[[Path], AbstractAsyncContextManager[Delivery]]
    lacks: frozenset[str] = frozenset()
    libraries: tuple[str, ...] = ()
    """The client libraries that the cases are played with; without any, all of them."""
