"""Cohorts: everybody is looked after once in a period, whoever comes and goes meanwhile."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

import pytest

from consumer.core.grant import Grant
from consumer.core.limits import Limits
from consumer.core.messages import CloseCode
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.server import COHORT_S, MAX_COHORTS, SWEEP_S, SWEPT_AT_ONCE, Server
from consumer.edges.stream import CLOSE_S
from consumer.edges.websocket import Connection
from consumer.hub import Hub
from consumer.pipeline import Counts
from consumer.ports import StatusLog
from tests.attacks.attacks import FIN, frame, handshake
from tests.contract.trace import decode_frames
from tests.edges.stage import SlowLog, Socket

PERIOD_S: Final = 20.0
NEVER_S: Final = 1e9
A_MOMENT_S: Final = 1e-6  # what many additions of small times are off by, and more
PONG: Final = frame(FIN | 10)
CLOSED: Final = frame(FIN | 8, b"\x03\xf4")


class Viewer(Socket):
    """Keeps when it was sent what, and answers pings."""

    def __init__(self, server: Server) -> None:
        super().__init__("127.0.0.1", is_tls=False)
        self.beats_s: list[float] = []
        self.pings_s: list[float] = []
        self.checks_s: list[float] = []
        self.told: list[Any] = []
        self.came_s = _now()
        self.is_silent = False
        self.when_closed: Callable[[], object] = bool
        self.connection = Connection(server)
        self.connection.connection_made(cast(asyncio.Transport, self))

    def write(self, data: bytes) -> None:
        super().write(data)
        if data.startswith(b"HTTP"):  # what comes with the answer to the handshake
            data = data.partition(b"\r\n\r\n")[2]
        if data == b"\x89\x00":
            self.pings_s.append(_now())
            self.says(PONG)
        elif data.startswith(b"\x81"):
            self.told += decode_frames(data)
            if self.told[-1]["op"] == "heartbeat":
                self.beats_s.append(_now())
        elif data.startswith(b"\x88"):
            self.when_closed()
            self.told.append(int.from_bytes(data[2:4], "big"))
            self.says(CLOSED)

    def write_eof(self) -> None:
        super().write_eof()
        self.says(b"")

    def says(self, data: bytes) -> None:
        if not self.is_silent:
            self.inbound.append(data)
            asyncio.get_running_loop().call_soon(self.deliver)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _at_once(living: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On a loop whose clock jumps to whatever is waited for."""
    loop: Any = asyncio.new_event_loop()
    now_s = 1_000.0
    select = loop._selector.select

    def jump(timeout: float | None) -> Any:
        nonlocal now_s
        assert timeout is not None, "nothing will ever happen"
        now_s += max(0.0, timeout)
        return select(0)

    loop.time = lambda: now_s
    loop._selector.select = jump
    try:
        loop.run_until_complete(living())
    finally:
        loop.close()


def _server(heartbeat_s: float = PERIOD_S) -> Server:
    counts = Counts()
    hub = Hub(cast(StatusLog, SlowLog(random.Random(0))), lambda: 0, counts)
    limits = Limits(handshakes_per_s=1e9)
    return Server(hub, Site(None, list), counts, Door(limits, counts),
                  heartbeat_s=heartbeat_s)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_each_viewer_has_its_heartbeat_once_a_period(seed: int) -> None:
    """Its ping beside it, from within a period of its coming until it goes."""

    async def live() -> None:
        dice = random.Random(seed)
        server = _server()
        beating = asyncio.create_task(server.beat())
        there: list[Viewer] = []
        left: list[tuple[Viewer, float]] = []
        for _ in range(400):
            if dice.random() < 0.6:
                there.append(Viewer(server))
                there[-1].says(handshake(""))
            elif there:
                gone = there.pop(dice.randrange(len(there)))
                left.append((gone, _now()))
                gone.abort()
            await asyncio.sleep(dice.choice([0, 0, 0.01, 0.7, PERIOD_S / 3]))
        beating.cancel()
        for viewer, until_s in [*left, *((each, _now()) for each in there)]:
            _check_times(viewer.beats_s, viewer.came_s, until_s, PERIOD_S)
            assert viewer.pings_s == viewer.beats_s
        sizes = [len(cohort) for cohort in server._cohorts]
        assert sum(sizes) == len(there)

    _at_once(live)


def _check_times(times: list[float], since_s: float, until_s: float, period_s: float) -> None:
    """Once in every period between the two."""
    last = since_s
    for number, time in enumerate(times):
        waited = time - last
        assert waited <= period_s + A_MOMENT_S
        assert not number or waited >= period_s - A_MOMENT_S
        last = time
    assert until_s - last <= period_s + A_MOMENT_S


@pytest.mark.parametrize("heartbeat_s", [0.05, COHORT_S, 1.0, 1.3, PERIOD_S, 300.0])
def test_each_connection_is_swept_once_a_sweep(
    heartbeat_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Viewers or not yet, into however many cohorts the period is divided."""

    async def live() -> None:
        server = _server(heartbeat_s)
        assert 1 <= len(server._cohorts) <= MAX_COHORTS
        assert heartbeat_s / len(server._cohorts) >= min(heartbeat_s, COHORT_S) - A_MOMENT_S
        sweeping = asyncio.create_task(server.sweep())
        there = [Viewer(server) for _ in range(250)]
        by_connection = {each.connection: each for each in there}
        monkeypatch.setattr(
            Connection, "check", lambda one, now, _: by_connection[one].checks_s.append(now)
        )
        came_s = _now()
        await asyncio.sleep(5.5 * SWEEP_S)
        sweeping.cancel()
        for each in there:
            assert len(each.checks_s) in (5, 6)
            _check_times(each.checks_s, came_s, _now(), SWEEP_S)

    _at_once(live)


def test_who_goes_while_others_are_swept_is_let_go() -> None:
    """The sweep looks away between some and others; who is closed meanwhile is not closed again."""

    async def live() -> None:
        server = _server(COHORT_S)
        there = [Viewer(server) for _ in range(3 * SWEPT_AT_ONCE)]

        def all_go() -> None:
            for each in there:
                each.abort()

        for each in there:
            each.says(handshake(""))
        await asyncio.sleep(0.01)
        for each in there:
            each.connection._grant = Grant(frozenset({"*"}), expires_s=1.0)
            each.when_closed = all_go

        sweeping = asyncio.create_task(server.sweep())
        await asyncio.sleep(1.5 * SWEEP_S)
        assert not sweeping.done()
        sweeping.cancel()

    _at_once(live)


class Nobody:
    """Nothing listens."""

    def close(self) -> None:
        pass


async def _drained(viewers: int, *, is_silent: bool = False) -> tuple[list[Viewer], float]:
    """Those who were there, and how long it took."""
    server = _server()
    server._listener = cast(Any, Nobody())
    there = [Viewer(server) for _ in range(viewers)]
    for each in there:
        each.says(handshake(""))
    await asyncio.sleep(0.01)
    for each in there:
        each.is_silent = is_silent
    begun_s = _now()
    await server.drain()
    took_s = _now() - begun_s
    await asyncio.sleep(0)
    assert not server.connections
    return there, took_s


def test_a_drain_reaches_all() -> None:
    """Each is told when to come back, and why it is closed; it ends when the last has gone."""

    async def live() -> None:
        there, took_s = await _drained(250)
        assert took_s < A_MOMENT_S
        for each in there:
            *messages, code = each.told
            assert [message["op"] for message in messages] == ["welcome", "draining"]
            assert code == CloseCode.DRAINING

    _at_once(live)


def test_a_drain_waits_for_the_last() -> None:
    """Others that have gone do not cut it short."""

    async def live() -> None:
        server = _server()
        server._listener = cast(Any, Nobody())
        quick, slow = Viewer(server), Viewer(server)
        for each in (quick, slow):
            each.says(handshake(""))
        await asyncio.sleep(0.01)
        slow.is_silent = True
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(1)
        assert (quick.is_lost, slow.is_closing(), draining.done()) == (True, False, False)
        slow.is_silent = False
        slow.says(CLOSED)
        begun_s = _now()
        await draining
        assert _now() - begun_s < A_MOMENT_S

    _at_once(live)


def test_a_drain_waits_for_nobody_or_for_so_long() -> None:
    """Where nobody is there it ends at once; who does not answer is dropped after a while."""

    async def live() -> None:
        assert (await _drained(0))[1] < A_MOMENT_S
        _, took_s = await _drained(3, is_silent=True)
        assert abs(took_s - CLOSE_S) < A_MOMENT_S

    _at_once(live)
