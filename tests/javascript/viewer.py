"""A program in Node on the JavaScript client, and what it was told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.conformance.node import MODULES, NODE

PATIENCE_S: Final = 20.0
LINE_BYTES: Final = 1 << 20
Item = dict[str, Any]


class Viewer:
    """One stream, read to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.items: list[Item] = []
        """All that it was told, in order."""
        self._process = process

    async def until(self, is_it: Callable[[Item], object]) -> Item:
        """Read on to the first item that is."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = await self._process.stdout.readline()
                assert line, self.items
                self.items.append(json.loads(line))
                if is_it(self.items[-1]):
                    return self.items[-1]

    async def told(self, kind: str) -> Item:
        """Read on to the next item of this type."""
        return await self.until(lambda item: item["type"] == kind)

    async def told_of(self, id_: str) -> None:
        """Read on to this event, in a snapshot or by itself."""
        await self.until(lambda item: id_ in _ids(item))

    @property
    def ids(self) -> list[str]:
        """Of all events that it was told of, in order."""
        return [id_ for item in self.items for id_ in _ids(item)]

    @property
    def types(self) -> list[str]:
        return [item["type"] for item in self.items]

    async def answer(self, token: str | None) -> None:
        """What it is given when it asks for a token; None is a failure."""
        await self.told("asked")
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(token).encode() + b"\n")
        await self._process.stdin.drain()


def _ids(item: Item) -> list[str]:
    events = item.get("events", [item["event"]] if "event" in item else [])
    return [event["id"] for event in events]


@asynccontextmanager
async def viewing(url: str, **options: Any) -> AsyncIterator[Viewer]:
    """See `viewer.mjs` for the options."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        Path(__file__).with_suffix(".mjs"),
        json.dumps({"url": url, **options}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"NODE_PATH": str(MODULES)},
        limit=LINE_BYTES,
    )
    try:
        yield Viewer(process)
    finally:
        await process.communicate(b"")  # it ends when its input does
