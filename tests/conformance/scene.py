"""A scene: one delivery, one client library, and the viewers that a case has dialled."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

from tests.conformance.delivery import CAPABILITIES, Delivery, Message
from tests.conformance.viewer import Viewer
from tests.conformance.wire import Dialler

Case = TypeVar("Case", bound=Callable[..., Any])
SUBPROTOCOL: Final = "statuswire.v1"
OTHER_CODES: Final = frozenset({1000, 1001, 1003, 1006, 1008, 1009})
"""What ends a connection where the contract's own codes cannot be had (RFC 6455, 7.4.1)."""


def needs(*capabilities: str) -> Callable[[Case], Case]:
    """A case that is not asked of a delivery which lacks one of these."""
    assert CAPABILITIES.keys() >= set(capabilities)

    def mark(case: Case) -> Case:
        case.needs = frozenset(capabilities)  # type: ignore[attr-defined] # for conftest
        return case

    return mark


class Scene:
    """What a case plays with."""

    def __init__(
        self,
        delivery: Delivery,
        lacks: frozenset[str],
        dialler: Dialler,
        closing: AsyncExitStack,
    ) -> None:
        self.delivery = delivery
        self.lacks = lacks
        self._dialler = dialler
        self._closing = closing

    def codes(self, code: int) -> frozenset[int]:
        """What a connection may end with that ends for this reason."""
        return OTHER_CODES | {code} if "close_codes" in self.lacks else frozenset({code})

    async def publish(self, *messages: Message) -> None:
        """Have the queues bring these."""
        await self.delivery.publish(*messages)

    async def dial(
        self, query: str = "", *, token: str | None = None, subprotocols: Sequence[str] = ()
    ) -> Viewer:
        """A connection with this token, in a header where the library can set one; nothing was
        read yet. Raises `Closed` where the handshake is refused.
        """
        headers = {}
        if token is not None and self._dialler.has_headers:
            headers["Authorization"] = f"Bearer {token}"
        elif token is not None:
            subprotocols = (*(subprotocols or (SUBPROTOCOL,)), f"bearer.{token}")
        wire = await self._dialler.connect(
            self.delivery.url + query, headers=headers, subprotocols=subprotocols
        )
        self._closing.push_async_callback(wire.close)
        return Viewer(wire)

    async def viewer(self, query: str = "", *granted: str, **options: Any) -> Viewer:
        """A viewer that was welcomed, with a token for these patterns, or for everything."""
        token = self.delivery.token(*(granted or ("*",)))
        viewer = await self.dial(query, token=token, **options)
        await viewer.told("welcome")
        return viewer

    async def watching(self, *watch: str) -> Viewer:
        """A viewer that has read its snapshot of these patterns."""
        viewer = await self.viewer()
        await viewer.subscribe(*watch, id="1")
        await viewer.snapshot()
        return viewer
