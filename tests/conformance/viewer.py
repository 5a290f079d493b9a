"""A viewer: one connection, of which each message is held against the document."""

import asyncio
import json
from typing import Any, Final

from tests.conformance.documented import check
from tests.conformance.wire import Closed, Wire

PATIENCE_S: Final = 15.0
ASIDE: Final = frozenset({"heartbeat"})  # it comes whenever it comes


class Viewer:
    """What one connection is told, in order."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.texts: list[str] = []
        """All that was read, as it came."""
        self._code: int | None = None

    async def read(self) -> dict[str, Any]:
        """The next message. Raises `Closed`."""
        async with asyncio.timeout(PATIENCE_S):
            text = await self.wire.receive()
        self.texts.append(text)
        message = check(json.loads(text))
        self._code = message.get("close")
        return message

    async def told(self, op: str) -> dict[str, Any]:
        """The next message, heartbeats aside, which is of this kind."""
        while (message := await self.read())["op"] in ASIDE - {op}:
            pass
        assert message["op"] == op, message
        return message

    async def snapshot(self) -> list[dict[str, Any]]:
        """The events of a snapshot, of all its frames."""
        events: list[dict[str, Any]] = []
        while (page := await self.told("snapshot"))["more"]:
            events += page["events"]
        return [*events, *page["events"]]

    async def statuses(self, count: int) -> list[dict[str, Any]]:
        """The next so many status messages."""
        return [await self.told("status") for _ in range(count)]

    async def say(self, op: str, **fields: Any) -> None:
        await self.wire.send(json.dumps({"op": op, **fields}))

    async def subscribe(self, *watch: str, **fields: Any) -> None:
        await self.say("subscribe", watch=list(watch), **fields)

    async def ended(self) -> int:
        """The code with which the connection is closed, whatever is told before that; where none
        can be sent, the last message has named it.
        """
        try:
            while True:
                await self.read()
        except Closed as closed:
            return self._code or closed.code

    async def hears_no_more(self) -> None:
        """Nothing else is told up to the answer to a ping."""
        await self.say("ping", id="asked last")
        assert (await self.told("pong"))["id"] == "asked last"
