"""Whatever viewers do, and whenever: who is counted is there, and nothing is left of who has gone.

The product's own server, door and hub; what is made up is in `stage`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.limits import Limits
from consumer.edges import addresses
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.server import Server
from consumer.edges.tokens import Verifier
from consumer.edges.websocket import Connection
from consumer.hub import Hub
from consumer.pipeline import Counts
from consumer.ports import StatusLog
from tests.attacks.attacks import FIN, PING, TEXT, frame, handshake
from tests.core import examples
from tests.edges.stage import CLOCK_S, TOKENS, SlowLog, SlowVerifier, Socket

LIMITS: Final = Limits(
    connections=5, connections_per_address=2, half_open=4, handshakes_per_s=1e6,
    handshakes_per_s_per_address=1e6, watches=3, outbox_events=4, handshake_s=60,
)  # fmt: skip
PEERS: Final = ("127.0.0.1", "203.0.113.7", "203.0.113.8", "2001:db8::1", "10.0.0.1")
PROXIES: Final = [ip_network("10.0.0.0/8")]


def _text(text: str) -> bytes:
    return frame(FIN | TEXT, text.encode())


def _subscribes(pattern: str, since: str = "") -> bytes:
    return _text(f'{{"op":"subscribe","watch":["{pattern}"]{since}}}')


REQUESTS: Final = (
    *[handshake("all")] * 8,
    *(handshake(token) for token in TOKENS),
    *(handshake(token, query=b"?watch=*&since=e-1") for token in ("all", "brief", "standard")),
    handshake("all", b"X-Forwarded-For: 203.0.113.9\r\n"),
    handshake("all", b"Origin: http://evil.example\r\n"),
    handshake("all", query=b"?token=all"),
    handshake("all")[:40],
    b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"no request\r\n\r\n",
)
FRAMES: Final = (
    *(_subscribes(each) for each in ("*", "machine:standard", "execution:run-1")),
    _subscribes("machine:standard", ',"since":"e-1"'),
    *(_text(f'{{"op":"unsubscribe","watch":["{each}"]}}') for each in ("*", "machine:standard")),
    *(_text(f'{{"op":"token","token":"{each}"}}') for each in TOKENS),
    frame(FIN | PING),
    frame(FIN | 8, b"\x03\xe8"),
    frame(FIN | TEXT, b"\xff"),
    frame(FIN | TEXT, b'{"op":"ping"}'.ljust(5_000)),  # more than a turn
)


class House:
    """A server with its visitors, moved step by step."""

    def __init__(self, seed: int, *, is_tls: bool) -> None:
        dice = random.Random(seed)
        self.counts = Counts()
        self.log = SlowLog(dice)
        self.verifier = SlowVerifier()
        self.sockets: list[Socket] = []
        self.now_s, self.clock_s = asyncio.get_running_loop().time(), CLOCK_S
        self.faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: self.faults.append(told))
        self._is_tls = is_tls
        certificates: Any = object() if is_tls else None
        door = Door(LIMITS, self.counts, trusted_proxies=PROXIES, certificates=certificates,
                    verifier=cast(Verifier, self.verifier))  # fmt: skip
        hub = Hub(cast(StatusLog, self.log), lambda: 0, self.counts)
        site = Site(None, list)
        self.server = Server(hub, site, self.counts, door, heartbeat_s=20)

    def connect(self, n: int) -> None:
        """Somebody comes."""
        socket = Socket(PEERS[n % len(PEERS)], is_tls=self._is_tls)
        socket.connection = Connection(self.server, self.now_s if self._is_tls else 0.0)
        self.sockets.append(socket)
        door = self.server.door
        if self._is_tls:  # the door was before the handshake, which is over now
            door.enter(socket, addresses.parse(PEERS[n % len(PEERS)]), self.now_s)
        socket.connection.connection_made(cast(asyncio.Transport, socket))
        door.half_open.pop(socket, None)

    def _one(self, n: int) -> Socket | None:
        there = [each for each in self.sockets if not each.is_lost]
        return there[n % len(there)] if there else None

    def _says(self, n: int, data: bytes) -> None:
        if socket := self._one(n):
            socket.inbound.append(data)
            socket.deliver()

    def ask(self, n: int) -> None:
        """A request, whole or not."""
        self.connect(n)
        self.sockets[-1].inbound.append(REQUESTS[n % len(REQUESTS)])
        self.sockets[-1].deliver()

    def say(self, n: int) -> None:
        """A frame, or two at once."""
        count = len(FRAMES)
        other = FRAMES[n // count % count] if n % 2 else b""
        self._says(n // count**2, FRAMES[n % count] + other)

    def half_close(self, n: int) -> None:
        """Its half of the stream ends."""
        self._says(n, b"")

    def vanish(self, n: int) -> None:
        """A reset."""
        if socket := self._one(n):
            socket.abort()

    def stall(self, n: int) -> None:
        """Its socket is full."""
        socket = self._one(n)
        is_viewer = socket and socket.connection in self.server.hub.clients
        if socket and is_viewer and not socket.connection.session.is_paused:
            socket.connection.pause_writing()

    def read_on(self, n: int) -> None:
        """It takes what waits."""
        if (socket := self._one(n)) and socket.connection.session.is_paused:
            socket.connection.resume_writing()

    def withhold(self, _: int) -> None:
        """The keys of tokens are being read."""
        self.verifier.may_answer.clear()

    def verify(self, _: int) -> None:
        """They are there."""
        self.verifier.may_answer.set()

    def publish(self, n: int) -> None:
        """The log took an event."""
        event = examples.step(len(self.log.entries) + 1, run=f"run-{n % 3}")
        self.log.entries.append(examples.entry(len(self.log.entries) + 1, event))
        self.server.hub._publish(self.log.entries[-1:])

    def beat(self, _: int) -> None:
        """Heartbeats and pings are due."""
        self.server.hub.beat(self.server.hub.clients)
        for connection in list(self.server.connections):
            connection.ping()

    def sweep(self, n: int) -> None:
        """Some seconds have gone."""
        self.now_s += n % 8
        self.clock_s += n % 8
        for connection in list(self.server.connections):
            connection.check(self.now_s, self.clock_s)
        for client in self.server.hub.clients:
            connection = cast(Connection, client)
            assert connection._grant is not None
            expired = connection._grant.has_expired(self.clock_s)
            assert not (expired and connection._is_open), "watches on"

    def check(self) -> None:
        """What must hold whenever nothing is under way."""
        assert not self.faults
        server, door, hub = self.server, self.server.door, self.server.hub
        there = {each.connection for each in self.sockets if not each.is_lost}
        clients = {each for each in server.connections if each._grant is not None}
        assert server.connections == there
        assert hub.clients == clients
        assert door.half_open.keys() == there - clients
        assert len(door.half_open) <= LIMITS.half_open
        assert door.admitted == len(clients) <= LIMITS.connections
        counted = Counter(each._bucket for each in clients if each._bucket is not None)
        assert door._admitted_of == counted
        assert max(counted.values(), default=0) <= LIMITS.connections_per_address
        audiences = [audience.members for audience in hub._audiences]
        assert set(hub._tasks).union(*audiences) <= clients
        for socket in self.sockets:
            if not socket.is_lost:
                self._check_one(socket)

    def _check_one(self, socket: Socket) -> None:
        connection = socket.connection
        is_held = connection._task is not None or connection.session.is_paused
        assert socket.is_reading or is_held, "nobody will ever read on"
        assert is_held or not connection._unread, "read, and never acted on"
        if connection._grant is not None and connection._is_open:
            assert not connection._grant.refused(connection.session.told_of())


async def settle() -> None:
    """Let what can go on go on."""
    for _ in range(60):
        await asyncio.sleep(0)


STEPS: Final[tuple[Callable[[House, int], None], ...]] = (
    House.connect, House.ask, House.ask, House.ask, House.say, House.say, House.say, House.withhold,
    House.verify, House.verify, House.half_close, House.vanish, House.stall, House.read_on,
    House.publish, House.beat, House.sweep,
)  # fmt: skip
Moves = list[tuple[Callable[[House, int], None], int, bool]]


async def _live(moves: Moves, seed: int, *, is_tls: bool) -> None:
    house = House(seed, is_tls=is_tls)
    for step, n, is_calm in moves:
        step(house, n)
        if is_calm:
            await settle()
            house.check()
    await settle()
    house.check()
    for socket in house.sockets:
        socket.abort()
    await settle()
    house.check()
    assert not house.server.connections
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@settings(deadline=None, max_examples=150)
@given(
    moves=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9_999), st.booleans()),
                   max_size=60),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_who_is_counted_is_there(moves: Moves, seed: int, *, is_tls: bool) -> None:
    """In whatever order: the counters are those of who is there, and nobody waits for ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("consumer.edges.login.time.time", lambda: CLOCK_S)
        asyncio.run(_live(moves, seed, is_tls=is_tls))
