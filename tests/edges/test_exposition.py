"""The metrics' port: who scrapes is served, whatever others do to it."""

import asyncio
import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest

from consumer.edges.exposition import MAX_CONNECTIONS, MetricsServer
from consumer.edges.metrics import Metrics
from tests.edges.test_metrics import Traffic
from tests.edges.test_sqlite_log import make

HOST: Final = "127.0.0.1"


class Few:
    """Metrics that cost nothing."""

    def collect(self) -> list[Any]:
        return []


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer(cast(Metrics, Few()), HOST, 0, request_s=1.0)
    yield server
    server.close()


def ask(
    port: int, method: str = "GET", path: str = "/metrics", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request, on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer, answer.read()


def connect(port: int, said: bytes = b"") -> socket.socket:
    line = socket.create_connection((HOST, port), timeout=10)
    line.sendall(said)
    return line


def ending(line: socket.socket) -> bytes:
    """What was answered until the end, which a reset is too."""
    heard = b""
    with contextlib.suppress(ConnectionError):
        while data := line.recv(65_536):
            heard += data
    line.close()
    return heard


async def test_prometheus_gets_ours_and_the_process_own(tmp_path: Path) -> None:
    """In Prometheus' text format, compressed for those who take it, even while the event loop,
    which scrapes wait for nowhere, is busy.
    """
    log = make(tmp_path / "log.db")
    await log.open()
    server = MetricsServer(Traffic(log, tmp_path / "log.db").metrics, HOST, 0)
    told: list[Any] = []
    try:
        scrape = threading.Thread(
            target=lambda: told.append(ask(server.port, headers={"Accept-Encoding": "gzip"}))
        )
        scrape.start()
        scrape.join(10)  # in the event loop's own thread
    finally:
        server.close()
        await log.close()
    answer, body = told[0]
    text = gzip.decompress(body).decode()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Connection"] == "close"
    assert 'statuswire_messages_received_total{queue="status"} 0.0' in text.splitlines()
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/metrics", 405), ("POST", "/metrics", 405), ("OPTIONS", "/metrics", 405),
        ("GET", "/", 404), ("GET", "/metrics/", 404), ("GET", "/favicon.ico", 404),
    ],
)  # fmt: skip
def test_nothing_else_is_answered(
    server: MetricsServer, method: str, path: str, status: int
) -> None:
    """One path, one method, and then the end."""
    answer, _ = ask(server.port, method, path)
    assert answer.status == status
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics?%b HTTP/1.1\r\n" % (b"x" * 3_000),
        b"GET /metrics HTTP/1.1\r\nA: %b\r\n" % (b"x" * 3_000),
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 100,
    ],
    ids=["line", "header", "headers"],
)
def test_a_request_that_is_too_large_is_refused(server: MetricsServer, request_: bytes) -> None:
    """Its line, one of its headers, or the number of them."""
    assert ending(connect(server.port, request_ + b"\r\n")).startswith(b"HTTP/1.0 400 ")


def test_a_request_byte_by_byte_ends_with_its_time(server: MetricsServer) -> None:
    """However steadily the bytes come."""
    begun_s = time.monotonic()
    line = connect(server.port, b"GET /metrics HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < begun_s + 10:
            line.sendall(b"A")
            time.sleep(0.01)
    line.close()
    assert time.monotonic() < begun_s + 10
    assert time.monotonic() - begun_s >= 1.0


def test_silence_ends_with_its_time(server: MetricsServer) -> None:
    """A connection that says nothing is one that hangs."""
    assert ending(connect(server.port)) == b""


def test_an_endless_body_is_not_read(server: MetricsServer) -> None:
    """The answer does not wait for it, and the connection ends."""
    line = connect(
        server.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"
    )
    assert ending(line).startswith(b"HTTP/1.1 200 ")


def test_a_crowd_makes_room_for_whoever_comes_next(server: MetricsServer) -> None:
    """The oldest goes, so a scrape is answered at once beside any number of slow requests."""
    slow = [connect(server.port, b"GET /metr") for _ in range(3 * MAX_CONNECTIONS)]
    begun_s = time.monotonic()
    answer, _ = ask(server.port)
    assert answer.status == 200
    assert time.monotonic() - begun_s < 0.9, "not only once the others' time was up"
    assert ending(slow[0]) == b""
    for line in slow:
        line.close()


def test_a_port_that_is_taken_is_told() -> None:
    """To whoever starts the consumer; and nothing is left running."""
    with (
        socket.create_server((HOST, 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        MetricsServer(cast(Metrics, Few()), HOST, taken.getsockname()[1])
    assert "metrics" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_left_at_the_end(server: MetricsServer) -> None:
    """Closing ends what is open, and waits for nobody."""
    line = connect(server.port, b"GET /metr")
    other = MetricsServer(cast(Metrics, Few()), HOST, 0)
    held = connect(other.port, b"GET /metr")
    other.close()
    assert ending(held) == b""
    assert asyncio.run(refused(other.port))
    line.close()


async def refused(port: int) -> bool:
    try:
        await asyncio.open_connection(HOST, port)
    except ConnectionRefusedError:
        return True
    return False
