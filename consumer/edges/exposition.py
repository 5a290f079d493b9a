"""`/metrics` over HTTP, for few and quick: aiohttp answers, and what hangs or crowds is dropped.

In a thread with a loop of its own, so that a scrape is answered while the event loop is busy, and
shows that it is.
"""

import asyncio
import contextlib
import socket
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


PAUSE_S: Final = 0.1  # when the system has no file left for a connection


class _Arrival(NamedTuple):
    at_s: float
    line: socket.socket

    def drop(self) -> None:
        """End it now, whoever has it in hand; that it has ended already does not matter."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_RDWR)


class MetricsServer:
    """Answers GET of /metrics, once per connection, and nothing else."""

    def __init__(
        self, metrics: Metrics, host: str, port: int, *, request_s: float = REQUEST_S
    ) -> None:
        """Listens from now on; `port` says where. Raises OSError where it cannot."""
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._listener = socket.create_server(address[:2], family=family)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._request_s = request_s
        self._arrivals: deque[_Arrival] = deque(maxlen=MAX_CONNECTIONS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="metrics", daemon=True)
        self._thread.start()
        self._run(self._open(metrics))

    def close(self) -> None:
        """Stop answering."""
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self, metrics: Metrics) -> None:
        application = web.Application(middlewares=[_answer_once])
        scrape = make_aiohttp_handler(registry_of(metrics))
        application.router.add_get("/metrics", scrape, allow_head=False)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            lingering_time=0,
            shutdown_timeout=1,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )
        await self._runner.setup()
        self._do(self._sweep())
        self._listen()

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._arrive)

    def _arrive(self) -> None:
        """A newcomer, for whom the oldest makes room."""
        try:
            line, _ = self._listener.accept()
        except BlockingIOError:  # it has gone
            return
        except OSError:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(PAUSE_S, self._listen)
            return
        line.setblocking(False)
        if len(self._arrivals) == MAX_CONNECTIONS:
            self._arrivals[0].drop()
        self._arrivals.append(_Arrival(self._loop.time(), line))
        make = cast(web.Server, self._runner.server)  # which is there after its `setup`
        self._do(self._loop.connect_accepted_socket(make, line))

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self) -> None:
        """Ends what takes too long: a request byte by byte, an answer that nobody takes."""
        while True:
            await asyncio.sleep(self._request_s / 5)
            before_s = self._loop.time() - self._request_s
            while self._arrivals and self._arrivals[0].at_s <= before_s:
                self._arrivals.popleft().drop()

    async def _shut(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for arrival in self._arrivals:
            arrival.drop()
        for task in self._tasks:
            task.cancel()
        await self._runner.cleanup()
        await self._loop.shutdown_default_executor()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


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
