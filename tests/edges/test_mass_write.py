"""Many sockets at once: the same bytes as one by one, whatever state each socket is in."""

import asyncio
import errno
import os
import platform
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from consumer.core.limits import Limits
from consumer.edges import mass_write
from consumer.edges.mass_write import MassWriter, mass_writer
from tests.contract.trace import decode_frames
from tests.core import examples
from tests.edges.conftest import Service, serving, until

HANDSHAKE = (
    b"GET /v1/status?watch=* HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
READERS = 40
EVENTS = 60


class Reader:
    """A client that reads when it is told to."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(HANDSHAKE)
        self.socket.setblocking(False)
        self.data = b""

    def read(self) -> None:
        """What is there by now."""
        try:
            while data := self.socket.recv(1 << 20):
                self.data += data
        except BlockingIOError:
            return

    @property
    def frames(self) -> list[dict[str, Any]]:
        """What it got so far, pings left out; the last one may not be whole."""
        _, _, frames = self.data.partition(b"\r\n\r\n")
        whole = b""
        while len(frames) >= 2:
            size, head = frames[1], 2
            if size == 126:
                size, head = int.from_bytes(frames[2:4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(frames[2:10], "big"), 10
            if len(frames) < head + size:
                break
            if frames[0] == 0x81:
                whole += frames[: head + size]
            frames = frames[head + size :]
        return list(decode_frames(whole))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path, limits=Limits(outbox_events=8)) as service:
        assert service.server.mass is not None, "this system has no io_submit"
        yield service


async def _crowd(service: Service, count: int) -> list[Reader]:
    readers = [await asyncio.to_thread(Reader, service.port) for _ in range(count)]
    await until(lambda: len(service.hub.clients) == count)
    await until(lambda: not service.hub._tasks)
    for connection in service.server.connections:  # so that a frame may fit in part
        sending = connection._transport.get_extra_info("socket")
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    return readers


async def _publish(service: Service, number: int, size: int = 300) -> None:
    event = examples.step(1 + number % 50, run=f"run-{number}", detail={"pad": "x" * size})
    await service.log.append([event])
    await until(lambda: service.hub.place == service.log.head)


async def test_all_get_the_same_bytes_in_one_call(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one call takes, too."""
    monkeypatch.setattr(mass_write, "MOST", 16)
    readers = await _crowd(service, READERS)
    calls: list[int] = []
    write = MassWriter._write

    def counted(self: MassWriter, connections: Any, data: bytes) -> None:
        calls.append(len(connections))
        write(self, connections, data)

    monkeypatch.setattr(MassWriter, "_write", counted)
    for number in range(5):
        await _publish(service, number)
    for reader in readers:
        await _reads(reader, 5)
        assert _told(reader) == [1, 2, 3, 4, 5]
    assert calls == [16, 16, 8] * 5
    assert service.hub.tally.frames == 5 * READERS


def _told(reader: Reader) -> list[int]:
    return [
        int(frame["cursor"].rpartition("-")[2])
        for frame in reader.frames
        if frame["op"] == "status"
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_in_whatever_state_a_socket_is_its_stream_is_whole(
    service: Service, seed: int
) -> None:
    """Full, half-way through a frame, slow, gone: frames stay whole and in order, and each reader
    has, or was told that it lacks, every event.
    """
    dice = random.Random(seed)
    readers = await _crowd(service, READERS)
    gone = set(dice.sample(range(READERS), 5))
    for number in range(EVENTS):
        await _publish(service, number, size=dice.choice([200, 12_000]))
        for place, reader in enumerate(readers):
            if place in gone and dice.random() < 0.05:
                reader.socket.close()
            elif place % 4 and reader.socket.fileno() >= 0:
                reader.read()
    left = [reader for reader in readers if reader.socket.fileno() >= 0]
    for reader in left:
        await _reads(reader, EVENTS)
        told = _told(reader)
        assert told == sorted(set(told))
        skipped = sum(frame["count"] for frame in reader.frames if frame["op"] == "skipped")
        assert len(told) + skipped == EVENTS
    assert any(len(_told(reader)) == EVENTS for reader in left)


async def _reads(reader: Reader, upto: int) -> None:
    """Until the event at that place is there."""

    def is_through() -> bool:
        reader.read()
        return upto in _told(reader)

    await until(is_through)


async def test_what_is_in_line_comes_first(service: Service) -> None:
    """The socket has room again, and the transport has not noticed yet: nobody goes past it."""
    readers = await _crowd(service, READERS)
    place = 0

    def publish(size: int) -> None:
        nonlocal place
        place += 1
        event = examples.step(place, run=f"run-{place}", detail={"pad": "x" * size})
        service.hub._publish([examples.entry(place, event)])

    def in_line() -> int:
        return min(c._transport.get_write_buffer_size() for c in service.server.connections)

    while not in_line():
        publish(3_000)
    assert all(connection.session.is_clear for connection in service.server.connections)
    for reader in readers:
        reader.read()
    assert in_line()
    publish(10)
    for reader in readers:
        await _reads(reader, place)
        assert _told(reader) == list(range(1, place + 1))


async def test_a_place_is_given_back(service: Service) -> None:
    """Clients come and go for months; a place is not another's while its socket is open."""
    assert service.server.mass is not None
    for _ in range(3):
        readers = await _crowd(service, READERS)
        places = [connection.place for connection in service.server.connections]
        assert 0 not in places
        assert len(set(places)) == READERS
        for reader in readers:
            reader.socket.close()
        await until(lambda: not service.hub.clients)
    assert len(service.server.mass._chunks) == 1
    assert len(service.server.mass._free) == mass_write.CHUNK


async def test_who_is_closing_is_not_written_to_past_the_transport(service: Service) -> None:
    """Its descriptor may be another client's by the time it is known to be gone."""
    await _crowd(service, READERS)
    connection = next(iter(service.server.connections))
    assert connection.is_ready
    connection.abort()
    assert not connection.is_ready


def test_a_system_without_it_is_served_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kernel, another machine, or a sandbox that forbids it."""
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert mass_writer() is None
    monkeypatch.undo()
    monkeypatch.setattr(mass_write, "_NUMBERS", {platform.machine(): (-1, -1, -1, -1)})
    assert mass_writer() is None
    with pytest.raises(OSError, match=os.strerror(errno.ENOSYS)):
        MassWriter()


async def test_what_the_kernel_refuses_is_left_to_the_transport(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody goes without because a call failed."""
    assert service.server.mass is not None
    readers = await _crowd(service, READERS)
    monkeypatch.setattr(service.server.mass, "_syscall", lambda *_: -1)
    await _publish(service, 0)
    for reader in readers:
        await _reads(reader, 1)
