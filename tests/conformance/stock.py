"""The `websockets` library's own client, as anyone would use it."""

from collections.abc import Mapping, Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import Subprotocol

from tests.conformance.wire import NO_HEADERS, Closed

NO_CODE = 1006


class _Connection(ClientConnection):
    """Counts what the library answers by itself."""

    pings = 0

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
        super().process_event(event)


class StockWire:
    """See `Wire`."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.subprotocol: str | None = connection.subprotocol

    @property
    def pings(self) -> int:
        return self._connection.pings

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            return  # who reads is told

    async def receive(self) -> str:
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            code = self._connection.close_code
            reason = self._connection.close_reason or ""
            raise Closed(NO_CODE if code is None else code, reason) from error
        assert isinstance(message, str), "the protocol is text"
        return message

    async def close(self) -> None:
        await self._connection.close()

    async def stall(self, *, on: bool) -> None:
        transport = self._connection.transport
        transport.pause_reading() if on else transport.resume_reading()


class Stock:
    """See `Dialler`."""

    has_headers = True

    async def connect(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        subprotocols: Sequence[str] = (),
    ) -> StockWire:
        try:
            connection = await connect(
                url,
                additional_headers=headers,
                subprotocols=[Subprotocol(each) for each in subprotocols] or None,
                create_connection=_Connection,
                compression=None,
                max_size=None,
                ping_interval=None,
                proxy=None,
            )
        except InvalidStatus as error:
            raise Closed(NO_CODE, status=error.response.status_code) from error
        except (InvalidHandshake, OSError) as error:
            raise Closed(NO_CODE, str(error)) from error
        assert isinstance(connection, _Connection)
        return StockWire(connection)
