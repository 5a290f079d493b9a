"""What the Python peers share: topics, and the feed that says line by line what to broadcast."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

HOST: Final = "127.0.0.1"
PATH: Final = re.compile(r"/t/([0-9]+)\+([0-9]+)")

C = TypeVar("C")


class Topics(Generic[C]):
    """Who watches what."""

    def __init__(self) -> None:
        self._watching: defaultdict[int, set[C]] = defaultdict(set)

    def add(self, client: C, path: str) -> None:
        """The path says which: `/t/<first>+<count>`."""
        for topic in _topics(path):
            self._watching[topic].add(client)

    def remove(self, client: C, path: str) -> None:
        for topic in _topics(path):
            self._watching[topic].discard(client)

    def watching(self, topic: int) -> set[C]:
        return self._watching[topic]


def _topics(path: str) -> Iterable[int]:
    found = PATH.fullmatch(path)
    if found is None:
        return ()
    first, count = int(found[1]), int(found[2])
    return range(first, first + count)


class Feed(asyncio.Protocol):
    """Lines of a topic and the JSON to broadcast to it."""

    def __init__(self, broadcast: Callable[[int, bytes], None]) -> None:
        self._broadcast = broadcast
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            topic, _, payload = line.partition(b" ")
            self._broadcast(int(topic), payload)


async def take_feed(broadcast: Callable[[int, bytes], None]) -> asyncio.Server:
    """Listen for the feed."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Feed(broadcast), HOST, 0)


async def serve_for_ever(server: asyncio.Server, feeds: asyncio.Server) -> None:
    """Say where both are."""
    port, feed = (each.sockets[0].getsockname()[1] for each in (server, feeds))
    print(json.dumps({"port": port, "feed": feed}), flush=True)
    await asyncio.Event().wait()
