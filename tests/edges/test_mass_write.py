"""Many sockets at once: the same bytes as one by one, whatever state each socket is in."""

import asyncio
import errno
import itertools
import os
import platform
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from consumer.core import messages
from consumer.core.entries import Batch
from consumer.core.limits import Limits
from consumer.edges import mass_write
from consumer.edges.mass_write import Crowd, MassWriter, mass_writer
from consumer.edges.websocket import Connection
from tests.contract.trace import decode_frames
from tests.core import examples
from tests.edges.conftest import Service, serving, until

HANDSHAKE = (
    b"GET /v1/status?watch=%b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
READERS = 40
EVENTS = 60


class Reader:
    """A client that reads when it is told to."""

    def __init__(self, port: int, watch: str = "*") -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(HANDSHAKE % watch.encode())
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
    # Readers do not answer pings: on a slow machine they would be closed for that.
    async with serving(tmp_path, limits=Limits(outbox_events=8), heartbeat_s=600.0) as service:
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
    submit = MassWriter._submit_blocks

    def counted(self: MassWriter, blocks: Any) -> list[int]:
        calls.append(len(blocks))
        return submit(self, blocks)

    monkeypatch.setattr(MassWriter, "_submit_blocks", counted)
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


@pytest.mark.parametrize(
    "happens",
    [
        lambda connection: connection.write(messages.pong(None)),
        lambda connection: connection.ping(),
        lambda connection: connection.write_on(messages.pong(None)),
        lambda connection: connection.deliver(Batch([examples.entry(1, examples.step(1))])),
        lambda connection: connection.pause_writing(),
        lambda connection: connection.data_received(b"\x88\x80abcd"),
        lambda connection: connection.eof_received(),
        lambda connection: connection.close(1013, "go"),
        lambda connection: connection.abort(),
    ],
    ids=["write", "ping", "write_on", "deliver", "pause", "closing", "eof", "close", "abort"],
)
async def test_who_may_not_be_ready_is_asked_again(
    service: Service, happens: Callable[[Connection], Any]
) -> None:
    """Nothing goes past what its transport has in line, nor to who is closing: its descriptor may
    be another client's by the time it is known to be gone.
    """
    readers = await _crowd(service, READERS)
    await _publish(service, 0)
    connection = next(iter(service.server.connections))
    crowd = connection.crowd
    assert crowd is not None
    assert connection in crowd.ready
    happens(connection)
    await until(lambda: not connection._is_in_line)
    assert connection not in crowd.ready
    assert len(crowd.ready) == len(readers) - 1


async def test_who_has_nothing_in_line_is_ready_again(service: Service) -> None:
    """At the next event, and is then not asked until something happens."""
    readers = await _crowd(service, READERS)
    await _publish(service, 0)
    [crowd] = {connection.crowd for connection in service.server.connections}
    for connection in service.server.connections:
        connection.write(messages.pong(None))
    assert crowd is not None
    assert not crowd.ready
    await _publish(service, 1)
    for reader in readers:
        await _reads(reader, 2)
        assert _told(reader) == [1, 2]
    assert len(crowd.ready) == READERS


async def test_a_few_are_not_worth_a_call(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audience of few is written to by its transports, beside one of many."""
    mass = service.server.mass
    assert mass is not None
    few = [await asyncio.to_thread(Reader, service.port, "execution:run-1") for _ in range(3)]
    many = [await asyncio.to_thread(Reader, service.port) for _ in range(mass_write.FEW)]
    await until(lambda: len(service.hub.clients) == len(few + many) and not service.hub._tasks)
    calls: list[int] = []
    submit = mass._submit_blocks

    def counted(blocks: Any) -> list[int]:
        calls.append(len(blocks))
        return submit(blocks)

    monkeypatch.setattr(mass, "_submit_blocks", counted)
    for number in range(3):
        await _publish(service, number)
    for reader in many:
        await _reads(reader, 3)
        assert _told(reader) == [1, 2, 3]
    for reader in few:
        await _reads(reader, 2)
        assert _told(reader) == [2]
    assert calls == [len(many)] * 3
    assert service.hub.tally.frames == 3 * len(many) + len(few)


@pytest.mark.parametrize("seed", range(20))
def test_a_crowd_knows_who_is_ready(seed: int) -> None:
    """Whoever comes, goes, steps aside and is asked: a block for each that is ready, no other."""
    dice = random.Random(seed)
    places = itertools.count(1)
    crowds = [Crowd(), Crowd()]
    members: list[list[Any]] = [[], []]
    ready: list[set[int]] = [set(), set()]
    for _ in range(300):
        which = dice.randrange(2)
        crowd, inside = crowds[which], members[which]
        match dice.choice(["add", "add", "remove", "aside", "ask"]):
            case "add":
                one: Any = SimpleNamespace(
                    place=next(places), crowd=None, seat=0, is_ready=dice.random() < 0.7
                )
                crowd.add(one)
                inside.append(one)
            case "remove" if inside:
                one = inside.pop(dice.randrange(len(inside)))
                crowd.remove(one)
                assert one.crowd is None
                ready[which].discard(one.place)
            case "aside" if ready[which]:
                one = dice.choice([one for one in inside if one.crowd is crowd])
                crowd.set_aside(one)
                ready[which].discard(one.place)
            case "ask":
                crowd.ask()
                ready[which].update(one.place for one in inside if one.is_ready)
        assert sorted(map(id, crowd)) == sorted(map(id, inside))
        assert len(crowd) == len(inside)
        assert [one.place for one in crowd.ready] == crowd.blocks.tolist()
        assert set(crowd.blocks) == ready[which]
        assert len(crowd.ready) + len(crowd.others) == len(inside)


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
    """Nobody goes without because a call failed, or each of several did."""
    assert service.server.mass is not None
    monkeypatch.setattr(mass_write, "MOST", 16)
    readers = await _crowd(service, READERS)
    monkeypatch.setattr(service.server.mass, "_syscall", lambda *_: -1)
    await _publish(service, 0)
    for reader in readers:
        await _reads(reader, 1)
