"""The `websockets` library's asyncio server and its `broadcast`, on uvloop; nothing is tuned."""

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.bench.peers.broadcaster import HOST, Topics, serve_for_ever, take_feed


async def main() -> None:
    topics: Topics[ServerConnection] = Topics()

    async def hold(connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        topics.add(connection, path)
        try:
            await connection.wait_closed()
        finally:
            topics.remove(connection, path)

    def publish(topic: int, payload: bytes) -> None:
        broadcast(topics.watching(topic), payload.decode())

    async with serve(hold, HOST, 0, backlog=4096) as server:
        await serve_for_ever(server.server, await take_feed(publish))


if __name__ == "__main__":
    uvloop.run(main())
