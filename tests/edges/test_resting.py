"""A connection that rests without its parser is, to its client, one that never does."""

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.protocol import CLOSED, CLOSING

from consumer.core.limits import Limits
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.server import Server
from consumer.edges.stream import Stream
from consumer.edges.tokens import Verifier
from consumer.edges.websocket import Connection
from consumer.hub import Hub
from consumer.pipeline import Counts
from consumer.ports import StatusLog
from tests.attacks.attacks import CONT, FIN, PING, TEXT, frame, handshake
from tests.core import examples
from tests.edges.stage import CLOCK_S, SlowLog, SlowVerifier, Socket

CLOSE, PONG = 8, 10
EXAMPLES = 2_000 if os.environ.get("LONG") else 300
BURST: Final = 40  # frames at once
# So few a second that what a test takes gives none back; ten seconds' worth at once.
LIMITS: Final = Limits(messages_per_s=BURST / 10, watches=3, fragments=4, message_bytes=70_000)
FRAMES: Final = (
    *[frame(FIN | PONG)] * 4,
    *(frame(FIN | op, body) for op in (PING, PONG) for body in (b"", b"x", b"y" * 125)),
    frame(FIN | TEXT, b'{"op":"ping","id":"1"}'),
    frame(FIN | TEXT, b'{"op":"ping"}'.ljust(126)),
    frame(FIN | TEXT, b'{"op":"ping"}'.ljust(65_535)),
    frame(FIN | TEXT, b'{"op":"ping"}'.ljust(65_536)),
    frame(FIN | TEXT, b'{"op":"subscribe","watch":["*"]}'),
    frame(FIN | TEXT, b'{"op":"subscribe","watch":["machine:standard"],"since":"e-1"}'),
    frame(FIN | TEXT, b'{"op":"unsubscribe","watch":["*"]}'),
    *(frame(FIN | TEXT, b'{"op":"token","token":"%b"}' % each) for each in (b"all", b"standard")),
    *(frame(op, body) for op, body in ((TEXT, b'{"op":'), (CONT, b""), (FIN | CONT, b'"ping"}'))),
    frame(FIN | TEXT, b'{"op":"ping"}').replace(b"\x80\x8d", b"\x80\xfe\x00\x0d"),
    b"\x81\xfe\x00\x0d\0\0\0\0" + b'{"op":"ping"}',  # its length is written longer than need be
)
LAST: Final = (
    frame(FIN | CLOSE), frame(FIN | CLOSE, b"\x03\xe8"), frame(FIN | CLOSE, b"\x00\x01"),
    frame(FIN | TEXT, b"\xff"), frame(FIN | 2, b"bytes"), frame(FIN | PING, mask=False), b"\xff",
    b"",
)  # fmt: skip


class Recorder(Socket):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", is_tls=False)
        self.written = b""

    def write(self, data: bytes) -> None:
        super().write(data)
        self.written += data

    def write_eof(self) -> None:
        super().write_eof()
        self.written += b"EOF"


class Life:
    """One viewer's, on a clock of its own."""

    def __init__(self, limits: Limits = LIMITS, *, is_free: bool = False) -> None:
        loop: Any = asyncio.get_running_loop()
        self.now_s = 1_000.0
        loop.time = lambda: self.now_s
        self.counts = Counts()
        self.log = SlowLog(random.Random(0))
        verifier = cast(Verifier, SlowVerifier())
        door = Door(limits, self.counts, verifier=None if is_free else verifier)
        hub = Hub(cast(StatusLog, self.log), lambda: 0, self.counts)
        self.server = Server(hub, Site(None, list), self.counts, door, heartbeat_s=20)
        self.socket = Recorder()
        self.viewer = self.socket.connection = Connection(self.server)
        self.viewer.connection_made(cast(asyncio.Transport, self.socket))

    async def enter(self) -> None:
        self.says(handshake("all"))
        await settle()
        assert self.viewer in self.server.hub.clients

    def says(self, *chunks: bytes) -> None:
        """In as many reads, each of which is acted on before the next."""
        for chunk in chunks:
            self.socket.inbound += (chunk,)
            self.socket.deliver()
            while self.server.turns._waiting:
                self.server.turns._take()
                self.socket.deliver()

    def publish(self) -> None:
        event = examples.step(1 + len(self.log.entries) % 50)
        self.log.entries.append(examples.entry(len(self.log.entries) + 1, event))
        self.server.hub._publish(self.log.entries[-1:])

    def stall(self) -> None:
        if not self.viewer.session.is_paused and self.viewer._is_open:
            self.viewer.pause_writing()

    def read_on(self) -> None:
        if self.viewer.session.is_paused:
            self.viewer.resume_writing()

    def look(self) -> None:
        self.now_s += 1
        self.viewer.check(self.now_s, CLOCK_S)

    def drain(self) -> None:
        self.viewer.close(1012, "draining")

    @property
    def told(self) -> Any:
        """What can be told of it from outside."""
        viewer, wire = self.viewer, self.viewer._wire
        return (
            self.socket.written, self.socket._is_closing, viewer._is_open, viewer._unanswered,
            viewer._text, wire._pieces if wire else 0, viewer.session.watch, +self.counts,
        )  # fmt: skip


async def settle() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


HAPPENS: Final[tuple[Callable[[Life], None], ...]] = (
    Life.publish, Life.stall, Life.read_on, Life.look, lambda life: life.viewer.ping(),
    lambda life: life.server.hub.beat(life.server.hub.clients),
)  # fmt: skip
Move = bytes | Callable[[Life], None]


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """In pieces of these lengths, again and again."""
    pieces = []
    while data and cuts:
        pieces.append(data[: cuts[0]])
        data, cuts = data[cuts[0] :], [*cuts[1:], cuts[0]]
    return [*pieces, data] if data else pieces


async def _live(moves: list[Move], cuts: list[int], last: Move, *, rests: bool) -> list[Any]:
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("consumer.edges.login.time.time", lambda: CLOCK_S)
        if not rests:
            patch.setattr(Stream, "_rest", lambda _: None)
        life = Life(Limits(messages_per_s=1e6, watches=3, fragments=4, message_bytes=70_000))
        await life.enter()
        for move in [*moves, last]:
            if not isinstance(move, bytes):
                move(life)
            elif move:
                for piece in _cut(move, cuts if len(move) < 5_000 else [4_999, 30_001]):
                    life.says(piece)
            else:
                life.says(b"")
            await settle()
            told.append(life.told)
        life.read_on()
        await settle()
        life.socket.abort()
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return [*told, life.told]


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    moves=st.lists(st.sampled_from([*FRAMES, *FRAMES, *HAPPENS]), max_size=25),
    cuts=st.lists(st.integers(1, 7), max_size=3),
    last=st.sampled_from([*LAST, Life.drain]),
)
def test_who_rests_says_and_does_the_same(moves: list[Move], cuts: list[int], last: Move) -> None:
    """Whatever is said, in whatever pieces, and whatever happens meanwhile."""
    resting = asyncio.run(_live(moves, cuts, last, rests=True))
    assert resting == asyncio.run(_live(moves, cuts, last, rests=False))


async def _entered(**limits: Any) -> Life:
    life = Life(Limits(**{"messages_per_s": LIMITS.messages_per_s, **limits}), is_free=True)
    await life.enter()
    assert life.viewer._wire is None
    return life


def _alone(living: Callable[[], Any]) -> None:
    """On a loop of its own, whose clock the test moves."""
    asyncio.run(living())


@pytest.mark.parametrize("said", [frame(FIN | PONG), frame(FIN | PING), frame(FIN | PONG, b"x")])
def test_a_flood_of_small_reads_is_counted(said: bytes) -> None:
    """Frame by frame, resting after each: so many are heard, and the next ends it with 4429."""

    async def live() -> None:
        life = await _entered()
        for _ in range(BURST):
            life.says(said)
            assert life.viewer._wire is None
        life.says(said)
        assert life.viewer._closed_by() == "4429"

    _alone(live)


def test_what_was_used_up_comes_back_in_time() -> None:
    """Resting neither keeps it from coming back nor brings it back sooner."""

    async def live() -> None:
        life = await _entered()
        for _ in range(BURST):
            life.says(frame(FIN | PING))
        life.now_s += 2 / LIMITS.messages_per_s
        for _ in range(2):
            life.says(frame(FIN | PING))
        life.says(frame(FIN | PING))
        assert life.viewer._closed_by() == "4429"

    _alone(live)


def test_one_pong_to_a_ping_is_not_counted() -> None:
    """Only the one: pings that stood unanswered together are answered by the first."""

    async def live() -> None:
        life = await _entered()
        for _ in range(3 * BURST):
            life.viewer.ping()
            life.says(frame(FIN | PONG))
        assert life.viewer._is_open
        life.viewer.ping()
        life.viewer.ping()
        for _ in range(BURST + 1):
            life.says(frame(FIN | PONG))
        assert life.viewer._is_open
        life.says(frame(FIN | PONG))
        assert life.viewer._closed_by() == "4429"

    _alone(live)


@pytest.mark.parametrize(
    ("said", "by", "state"),
    [
        ([frame(FIN | CLOSE, b"\x03\xe8")], "client", CLOSING),
        ([frame(FIN | CLOSE)[:1], frame(FIN | CLOSE)[1:]], "client", CLOSING),
        ([b""], "none", CLOSED),
        ([frame(FIN | PING)[:3], b""], "none", CLOSED),
    ],
    ids=["closes", "closes in pieces", "ends", "ends within a frame"],
)
def test_a_client_that_rests_goes(said: list[bytes], by: str, state: Any) -> None:
    """It is answered, counted under its own doing, and the stream ends."""

    async def live() -> None:
        life = await _entered()
        life.says(*said)
        assert life.viewer._wire is not None
        assert (life.viewer._closed_by(), life.viewer._wire.state) == (by, state)
        assert life.socket.written.endswith(b"EOF")
        life.socket.abort()
        await settle()
        assert life.counts["connections_closed", by] == 1

    _alone(live)


def test_a_reset_of_who_rests_is_nobodys_code() -> None:
    """Nothing was said; the connection is counted, and let go of."""

    async def live() -> None:
        life = await _entered()
        life.socket.abort()
        await settle()
        assert life.counts["connections_closed", "none"] == 1
        assert not life.server.connections

    _alone(live)


def test_a_closing_that_we_begin_at_rest_is_finished_by_the_client() -> None:
    """Its answer is taken for one; and if none comes, it is dropped after a while."""

    async def live() -> None:
        for answer in (frame(FIN | CLOSE, b"\x03\xf4"), None):
            life = await _entered()
            life.viewer.close(1012, "draining")
            assert not life.viewer._is_open
            if answer:
                life.says(answer)
                assert life.socket.written.endswith(b"EOF")
            for _ in range(7):
                assert life.viewer._closed_by() == "1012"
                life.look()
            assert life.socket.is_closing()

    _alone(live)


def test_half_a_message_keeps_its_parser() -> None:
    """Between a message's fragments, too: another parser would know nothing of the first."""

    async def live() -> None:
        life = await _entered()
        for piece in (frame(TEXT, b'{"op":'), frame(CONT), frame(FIN | PING)):
            life.says(piece)
            assert life.viewer._wire is not None
        life.says(frame(FIN | CONT, b'"ping"}'))
        assert life.viewer._wire is None
        assert life.socket.written.endswith(b'{"op":"pong","id":null}')

    _alone(live)


@pytest.mark.parametrize("size", [13, 125, 126, 127, 65_535, 65_536, 65_537])
def test_whatever_its_size_a_message_is_a_whole(size: int) -> None:
    """A frame's head has three lengths; after its last byte the connection rests, not before."""

    async def live() -> None:
        life = await _entered(message_bytes=70_000)
        said = frame(FIN | TEXT, b'{"op":"ping"}'.ljust(size))
        life.says(said[:-1])
        await settle()
        assert life.viewer._wire is not None
        life.says(said[-1:])
        await settle()
        assert life.viewer._wire is None

    _alone(live)


@pytest.mark.parametrize(
    "end",
    [
        lambda life: life.says(frame(FIN | CLOSE, b"\x03\xe8")),
        lambda life: life.says(b""),
        lambda life: life.says(b"\xff\xff"),
        lambda life: life.says(frame(FIN | TEXT, b"\xff")),
        Life.drain,
    ],
    ids=["closes", "ends", "is no frame", "is no message", "is closed"],
)
def test_nothing_is_due_to_who_is_being_closed(end: Callable[[Life], None]) -> None:
    """From its last word on, though it is there until the socket is gone."""

    async def live() -> None:
        life = await _entered()
        life.says(frame(FIN | TEXT, b'{"op":"subscribe","watch":["*"]}'))
        await settle()
        life.publish()
        assert b'"status"' in life.socket.written
        tally = life.server.hub.tally
        _, _, sent = life.socket.written.partition(b"\r\n\r\n")
        assert (tally.frames, tally.bytes) == (1, len(sent))
        end(life)
        written, frames = life.socket.written, life.server.hub.tally.frames
        assert life.viewer in life.server.hub.clients
        life.publish()
        life.server.hub.beat(life.server.hub.clients)
        assert (life.socket.written, life.server.hub.tally.frames) == (written, frames)

    _alone(live)
