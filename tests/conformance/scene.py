"""A scene: one delivery, one client library, and the viewers that a case has dialled."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

from tests.conformance.delivery import CAPABILITIES, Delivery, Message
from tests.conformance.viewer import Viewer
from tests.conformance.wire import Closed, Dialler

Case = TypeVar("Case", bound=Callable[..., Any])
SUBPROTOCOL: Final = "statuswire.v1"
CODES: Final = {400: 4400, 401: 4401, 403: 4403}
"""What a refused handshake stands for where no close code can be sent."""
BEAT_EVERY_S: Final = 0.2


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

    async def refusal(self, query: str = "", **options: Any) -> int:
        """The code with which a connection ends that is shown nothing.

        A handshake may be refused only where there are no close codes: a browser could not read
        why.
        """
        try:
            viewer = await self.dial(query, **options)
        except Closed as closed:
            if "close_codes" not in self.lacks or closed.status is None:
                raise
            return CODES[closed.status]
        code = await viewer.ended()
        assert not any('"snapshot"' in text for text in viewer.texts)
        return code

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Meanwhile there are heartbeats, wherever they come from."""

        async def beat() -> None:
            while True:
                await self.delivery.beat()
                await asyncio.sleep(BEAT_EVERY_S)

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

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
