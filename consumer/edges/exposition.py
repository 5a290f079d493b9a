"""`/metrics` over HTTP, for few and quick: aiohttp answers, and what hangs or crowds is dropped.

In a thread with a loop of its own, so that a scrape is answered while the event loop is busy, and
shows that it is.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple, TypeVar, cast

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from consumer.edges.metrics import Metrics, registry_of

T = TypeVar("T")

MAX_CONNECTIONS: Final = 16  # a pair of Prometheus, and people who look; past it the oldest goes
REQUEST_S: Final = 5.0  # of a connection, from its first packet to its last; a scrape takes 10 ms
# Of the request line and of each header; Prometheus sends some 300 bytes in seven.
MAX_LINE_BYTES: Final = 2_048
MAX_HEADERS: Final = 32


class _Arrival(NamedTuple):
    at_s: float
    handler: web.RequestHandler

    def drop(self) -> None:
        """End it now, if it has not ended: what waits to be read by nobody is not waited for."""
        if self.handler.transport is not None:
            self.handler.transport.abort()
        self.handler.force_close()


class MetricsServer:
    """Answers GET of /metrics, once per connection, and nothing else."""

    def __init__(
        self, metrics: Metrics, host: str, port: int, *, request_s: float = REQUEST_S
    ) -> None:
        """Listens from now on, on `port`. Raises OSError where it cannot."""
        self._request_s = request_s
        self._arrivals: deque[_Arrival] = deque(maxlen=MAX_CONNECTIONS)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="metrics", daemon=True)
        self._thread.start()
        try:
            self.port = self._run(self._open(metrics, host, port))
        except OSError:
            self._end()
            raise

    def close(self) -> None:
        """Stop answering."""
        self._run(self._shut())
        self._end()

    async def _open(self, metrics: Metrics, host: str, port: int) -> int:
        application = web.Application(middlewares=[_answer_once])
        scrape = make_aiohttp_handler(registry_of(metrics))
        application.router.add_get("/metrics", scrape, allow_head=False)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            lingering_time=0,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )
        await self._runner.setup()
        self._make = cast(web.Server, self._runner.server)  # which is there after `setup`
        self._listener = await self._loop.create_server(
            self._arrive, host, port, backlog=MAX_CONNECTIONS
        )
        self._sweeping = self._loop.create_task(self._sweep())
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    def _arrive(self) -> asyncio.Protocol:
        """Makes room for a newcomer."""
        if len(self._arrivals) == MAX_CONNECTIONS:
            self._arrivals[0].drop()
        handler = self._make()
        self._arrivals.append(_Arrival(self._loop.time(), handler))
        return handler

    async def _sweep(self) -> None:
        """Ends what takes too long: a request byte by byte, an answer that nobody takes."""
        while True:
            await asyncio.sleep(self._request_s / 5)
            before_s = self._loop.time() - self._request_s
            while self._arrivals and self._arrivals[0].at_s <= before_s:
                self._arrivals.popleft().drop()

    async def _shut(self) -> None:
        self._sweeping.cancel()
        self._listener.close()
        for arrival in self._arrivals:
            arrival.drop()
        await self._runner.cleanup()
        await self._loop.shutdown_default_executor()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@web.middleware
async def _answer_once(request: web.Request, handler: Any) -> web.StreamResponse:
    """One request per connection, so that a connection's time is a request's."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as refusal:  # another path or method
        refusal.headers["Connection"] = "close"
        raise
    response.force_close()
    return response
