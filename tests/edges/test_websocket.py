"""The WebSocket edge, spoken to by a real client and by a rude one."""

import asyncio
import contextlib
import errno
import json
import socket
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from consumer.core.limits import Limits
from consumer.edges import websocket
from tests.core import examples
from tests.edges.conftest import Service, read, until


async def _next(client: Any, op: str) -> Any:
    """The next message of a kind; heartbeats may come between."""
    while (message := await read(client))["op"] != op:
        assert message["op"] == "heartbeat"
    return message


async def _closed(client: Any) -> int:
    """The code with which the server closes."""
    async with asyncio.timeout(15):
        with contextlib.suppress(ConnectionClosed):
            async for _ in client:
                pass
        await client.wait_closed()
    assert client.close_code is not None
    return int(client.close_code)


async def test_a_bare_client_watches_by_its_address(service: Service) -> None:
    """Snapshot and live without a word from the client."""
    await service.log.append([examples.step(1)])
    client = await service.connect("?watch=machine:standard&watch=instance:i-12345678")
    snapshot = await _next(client, "snapshot")
    assert [event["id"] for event in snapshot["events"]] == ["run-1.1"]
    await service.log.append([examples.step(2)])
    status = await _next(client, "status")
    assert status["event"]["execution"]["seq"] == 2


async def test_a_bare_client_resumes_by_its_address(service: Service) -> None:
    """`since` in the address brings what came after it."""
    await service.log.append([examples.step(1), examples.step(2)])
    client = await service.connect(f"?watch=*&since={service.log.epoch}-1")
    assert (await _next(client, "status"))["cursor"].endswith("-2")
    assert (await _next(client, "resumed"))["id"] is None


async def test_a_bad_watch_in_the_address_is_told_and_closed(service: Service) -> None:
    """A client that cannot speak can at least read why."""
    client = await service.connect("?watch=everything")
    assert (await _next(client, "error"))["code"] == "bad_watch"
    assert await _closed(client) == 4400


async def test_our_subprotocol_is_selected_and_not_required(service: Service) -> None:
    """A token offered as a subprotocol is never selected."""
    client = await service.connect(subprotocols=["bearer.abc", "statuswire.v1"])
    assert client.subprotocol == "statuswire.v1"
    client = await service.connect(subprotocols=["bearer.abc"])
    assert client.subprotocol is None


async def test_requests_are_answered(service: Service) -> None:
    """Ping, a token where none is asked for, and what cannot be granted."""
    client = await service.connect()
    await client.send('{"op":"ping","id":"3"}')
    assert await _next(client, "pong") == {"op": "pong", "id": "3"}
    await client.send('{"op":"token","id":"4","token":"t"}')
    assert (await _next(client, "error"))["code"] == "no_token_needed"
    await client.send('{"op":"subscribe","id":"5","watch":["x"]}')
    assert (await _next(client, "error"))["id"] == "5"
    await client.send(["""{"op":"pi""", """ng","id":"6"}"""])
    assert (await _next(client, "pong"))["id"] == "6"


@pytest.mark.parametrize(
    "message", ["{", "[]", b"binary", "x" * (Limits().message_bytes + 1)], ids=lambda m: m[:4]
)
async def test_what_is_no_message_ends_the_connection(service: Service, message: Any) -> None:
    """Malformed and oversized messages close with 4400."""
    client = await service.connect()
    await client.send(message)
    assert await _closed(client) == 4400


async def test_endless_fragments_end_the_connection(service: Service) -> None:
    """A message cannot grow past its bound piece by piece."""
    client = await service.connect()

    async def pieces() -> Any:
        while True:
            yield "x" * 10_000

    with pytest.raises(ConnectionClosed):
        await client.send(pieces())
    assert client.close_code == 4400


async def test_heartbeats_carry_a_cursor(service: Service) -> None:
    """A client that gets nothing still learns how far it has been told."""
    await service.log.append([examples.step(1)])
    client = await service.connect("?watch=machine:express")
    await _next(client, "snapshot")
    beat = await _next(client, "heartbeat")
    while "cursor" not in beat or beat["cursor"].endswith("-0"):
        beat = await _next(client, "heartbeat")
    assert beat["cursor"] == f"{service.log.epoch}-1"


async def test_a_drain_says_when_to_come_back(service: Service) -> None:
    """Everyone is told, then closed with 1012; nobody new is let in."""
    clients = [await service.connect("?watch=*") for _ in range(5)]
    draining = asyncio.create_task(service.server.drain())
    waits = set()
    for client in clients:
        await _next(client, "snapshot")
        waits.add((await _next(client, "draining"))["retry_ms"])
        assert await _closed(client) == 1012
    await draining
    assert len(waits) > 1, "the reconnects are spread"
    with pytest.raises(ConnectionRefusedError):
        await connect(service.url)


async def test_a_drain_does_not_wait_for_the_silent(service: Service) -> None:
    """A connection that has said nothing is dropped; one that speaks up meanwhile is refused."""
    viewer = await service.connect("?watch=*", ping_interval=None)
    silent, silent_writer = await asyncio.open_connection("127.0.0.1", service.port)
    viewer.transport.pause_reading()  # so that the drain lasts
    draining = asyncio.create_task(service.server.drain())
    async with asyncio.timeout(2):
        assert await silent.read() == b""
    viewer.transport.resume_reading()
    silent_writer.close()
    async with asyncio.timeout(2):
        await draining


async def test_a_slow_reader_is_not_taken_for_a_dead_one(service: Service) -> None:
    """Pings stand in line behind what the client is still reading: some may go unanswered."""
    service.server.heartbeat_s = 60
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    (connection,) = service.server.connections
    connection.resume_writing()  # what was sent before has been taken
    for _ in range(websocket.MAX_UNANSWERED):
        connection.ping()
    assert service.hub.clients
    connection.pause_writing()
    connection.ping()
    connection.resume_writing()
    for _ in range(websocket.MAX_UNANSWERED):
        connection.ping()
    assert connection._is_open
    connection.ping()
    async with asyncio.timeout(5):
        assert b"no answer to pings" in await reader.readuntil(b"cursor")
    writer.close()


async def test_a_message_may_have_so_many_fragments(service: Service) -> None:
    """Empty ones count: they are free to send, and would be a way to keep the server busy."""
    empty = Limits().fragments - 3  # beside the two that say something, and the client's last
    client = await service.connect()
    await client.send(['{"op":"ping",', *[""] * empty, '"id":"1"}'])
    assert (await _next(client, "pong"))["id"] == "1"
    await client.send(['{"op":"ping",', *[""] * (empty + 1), '"id":"2"}'])
    assert await _closed(client) == 4400


async def test_too_many_requests_at_once(service: Service) -> None:
    """Requests that pile up unserved end the connection with 4429."""
    client = await service.connect()
    with contextlib.suppress(ConnectionClosed):
        for _ in range(2_000):
            await client.send('{"op":"subscribe","watch":["*"]}')
    assert await _closed(client) in (4429,)


async def test_pages_of_other_sites_may_not_connect(service: Service) -> None:
    """Nor a name that was made to point here; our own page and programs may."""
    for origin in ("https://evil.example", f"http://127.0.0.1:{service.port + 1}", "null"):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(service.url, origin=Origin(origin))
        assert refusal.value.response.status_code == 403
    for headers in (
        "Host: evil.example\r\nOrigin: http://evil.example",
        "Host: evil.example\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1",
        "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nOrigin: http://evil.example",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HANDSHAKE.replace(b"Host: 127.0.0.1", headers.encode()))
        assert (await reader.readline()).split()[1] in (b"400", b"403")
        writer.close()
    await service.connect(origin=Origin(f"http://127.0.0.1:{service.port}"))


async def test_a_large_commit_is_not_conflated(service: Service) -> None:
    """A client that keeps up gets each of a thousand events that are committed together."""
    client = await service.connect("?watch=*", max_queue=None)
    await _next(client, "snapshot")
    await service.log.append([examples.step(1 + n % 50, run=f"run-{n % 7}") for n in range(1_000)])
    places: list[int] = []
    while not places or places[-1] < 350:  # 7 × 50 distinct steps
        places.append(int((await _next(client, "status"))["cursor"].rpartition("-")[2]))
    assert places == list(range(1, 351))


async def test_a_client_that_vanishes_is_let_go(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer to several pings: the connection is dropped."""
    monkeypatch.setattr(websocket, "CLOSE_S", 0.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    assert len(service.hub.clients) == 1
    async with asyncio.timeout(10):
        await reader.read()  # until the server drops it; no pong is ever sent
    assert not service.hub.clients
    writer.close()


async def test_a_stalled_reader_is_conflated_and_others_are_not(service: Service) -> None:
    """One client stops reading; the other gets everything meanwhile, and it itself catches up."""
    detail = {"pad": "x" * 15_000}
    service.server.heartbeat_s = 60  # or it would be dropped for not answering pings
    await asyncio.sleep(0.3)
    quick = await service.connect("?watch=*", max_queue=None)
    stalled = await service.connect("?watch=*", max_queue=1, close_timeout=0.5)
    await _next(quick, "snapshot")
    sent = 0
    while not any(client.session.is_conflating for client in service.hub.clients):
        run = [examples.step(seq, run=f"run-{sent}", detail=detail) for seq in range(1, 51)]
        await service.log.append(run)
        sent += len(run)
        for _ in run:
            await _next(quick, "status")
    await _next(stalled, "snapshot")
    cursor, got, skipped = "", 0, 0
    while cursor != f"{service.log.epoch}-{sent}":
        message = await read(stalled)
        got += message["op"] == "status"
        skipped += message.get("count", 0)
        cursor = message.get("cursor", cursor)
    assert skipped > 0
    assert got + skipped == sent


async def test_a_reader_that_never_reads_is_closed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the time bound its connection is closed as too slow, and dropped."""
    monkeypatch.setattr(websocket, "STALLED_S", 0.0)
    monkeypatch.setattr(websocket, "CLOSE_S", 0.0)
    service.server.heartbeat_s = 60  # or it would be dropped for not answering pings
    await asyncio.sleep(0.3)
    _, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=4_096)
    writer.write(HANDSHAKE.replace(b"status HTTP", b"status?watch=* HTTP"))
    detail = {"pad": "x" * 8_000}
    async with asyncio.timeout(20):
        n = 0
        while not service.counts["connections_closed", "4408"]:
            await service.log.append([examples.step(1, run=f"run-{n}", detail=detail)])
            n += 1
    assert not service.hub.clients
    writer.close()


@pytest.mark.parametrize(
    "request_", [b"\x00\x01\x02\r\n\r\n", b"GET /v1/status\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"G" * 100_000],
    ids=["bytes", "no version", "post", "body", "long"],
)  # fmt: skip
async def test_rude_requests_are_ended(service: Service, request_: bytes) -> None:
    """Whatever is said instead of HTTP, the connection ends and the server goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(request_)
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    await service.connect()


async def test_a_client_may_be_gone_before_our_last_word(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says goodbye and resets its connection at once: no drain has to wait for it."""

    def gone(_: object) -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    monkeypatch.setattr(websocket, "CLOSE_S", 60.0)
    client = await service.connect()
    (connection,) = service.server.connections
    monkeypatch.setattr(type(connection._transport), "write_eof", gone)
    await client.close()
    await until(lambda: not service.server.connections)


HANDSHAKE = (
    b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


async def test_frames_are_the_same_bytes_for_all(service: Service) -> None:
    """A status frame holds nothing about the client that gets it."""
    clients = [await service.connect(f"?watch={watch}") for watch in ("*", "machine:standard")]
    for client in clients:
        await _next(client, "snapshot")
    await service.log.append([examples.step(1)])
    seen = []
    for client in clients:
        while "status" not in json.loads(raw := await client.recv())["op"]:
            pass
        seen.append(raw)
    assert seen[0] == seen[1]


async def test_a_handshake_is_answered_in_one_write(service: Service) -> None:
    """The answer, `welcome` and a small snapshot: each write costs a tenth of it."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.setblocking(False)
        await loop.sock_sendall(line, HANDSHAKE.replace(b"status ", b"status?watch=* "))
        async with asyncio.timeout(5):
            said = await loop.sock_recv(line, 65_536)
    assert said.startswith(b"HTTP/1.1 101")
    assert b'"snapshot"' in said


async def test_a_large_snapshot_is_not_piled_up_to_be_joined(service: Service) -> None:
    """Who reads none of its snapshot is sent no more of it than the buffers on the way hold."""
    note = "x" * 10_000
    runs = (f"run-{number}" for number in range(1_000))
    await service.log.append([examples.step(run=run, detail={"note": note}) for run in runs])
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        line.sendall(HANDSHAKE.replace(b"status ", b"status?watch=* "))
        await until(lambda: any(client.session.is_paused for client in service.hub.clients))
        (client,) = service.hub.clients
        assert isinstance(client, websocket.Connection)
        assert client._transport.get_write_buffer_size() < 1 << 20
