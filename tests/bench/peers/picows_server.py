"""picows, whose frames are made and written in Cython, on uvloop."""

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from tests.bench.peers.broadcaster import HOST, Topics, serve_for_ever, take_feed


async def main() -> None:
    topics: Topics[WSTransport] = Topics()

    class Viewer(WSListener):  # type: ignore[misc] # it has no types here
        def __init__(self, path: str) -> None:
            self._path = path

        def on_ws_connected(self, transport: WSTransport) -> None:
            topics.add(transport, self._path)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            topics.remove(transport, self._path)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()

    def publish(topic: int, payload: bytes) -> None:
        for transport in topics.watching(topic):
            transport.send(WSMsgType.TEXT, payload)

    def admit(request: WSUpgradeRequest) -> Viewer:
        return Viewer(request.path.decode())

    server = await ws_create_server(admit, HOST, 0, backlog=4096)
    await serve_for_ever(server, await take_feed(publish))


if __name__ == "__main__":
    uvloop.run(main())
