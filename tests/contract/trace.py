"""Golden traces: what arrives, in which order → which frames each client gets.

The traces are data (`traces/*.yaml`). Events have names and are written short; frames are written
as the protocol has them, with an event's name for the event and `E` for the log's epoch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import yaml

from consumer.core import events, messages
from consumer.core.entries import Batch
from consumer.core.events import Event
from consumer.core.limits import Limits
from consumer.core.recent import Recent
from consumer.core.session import Session
from consumer.hub import Hub
from consumer.ports import StatusLog

START = datetime(2026, 1, 1, tzinfo=UTC)
INSTANCE = "i-0123456789abcdef0"
RETENTION_S = 3_600.0
RETENTION_EVENTS = 50
TRACES = sorted(Path(__file__).with_name("traces").glob("*.yaml"))

OpenLog = Callable[[Callable[[], int]], Awaitable[StatusLog]]
CloseLog = Callable[[StatusLog], Awaitable[None]]


class RecordingClient:
    """A `Client` that keeps the frames it gets, and whose socket can be full."""

    def __init__(self, epoch: str, outbox: int = 256) -> None:
        self.session = Session(epoch, Limits(outbox_events=outbox))
        self.frames: list[dict[str, Any]] = []
        self.closed_with: int | None = None
        self._took_more = asyncio.Event()

    def deliver(self, batch: Batch) -> bool:
        if self.session.is_clear:
            self.write(batch.frames)
            return True
        self.session.put(batch)
        if self.session.is_overrun:
            self.close(messages.CloseCode.TOO_SLOW, "too slow")
        return False

    def write(self, frame: bytes) -> None:
        if self.closed_with is None:
            self.frames += decode_frames(frame)

    async def drained(self) -> None:
        while self.session.is_paused:
            await self._took_more.wait()
        if self.closed_with is not None:
            raise ConnectionResetError

    def close(self, code: int, reason: str) -> None:
        self.closed_with = self.closed_with or code
        self.session.shut()

    def stall(self) -> None:
        self.session.pause()
        self._took_more.clear()

    def go_on(self) -> None:
        if waited := self.session.go_on():
            self.write(waited)
        self._took_more.set()


def decode_frames(data: bytes) -> Iterator[dict[str, Any]]:
    """The messages in a run of unmasked text frames (RFC 6455, section 5.2)."""
    while data:
        assert data[0] == 0x81, "a final text frame"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        yield msgspec.json.decode(data[start : start + size])
        data = data[start + size :]


def arn(name: str, machine: str = "standard") -> str:
    return f"arn:aws:states:us-east-1:000000000000:execution:{machine}:{name}"


def expand(name: str, short: dict[str, Any]) -> Event:
    """An event from its short form: `run` and `seq`, or `service`, `inferred`, `ec2`, `asked`."""
    short = dict(short)
    run = short.pop("run", None) or short.pop("service", None) or short.pop("inferred", None)
    instance = short.pop("ec2", None) or short.pop("asked", None) or short.pop("instance", INSTANCE)
    kind = next(iter(TRACE_KINDS & short.pop("_kind")))
    machine = short.pop("machine", "standard")
    error = short.pop("error", None)
    status = short.pop("status")
    event = Event(
        v=1,
        id=short.pop("id", name),
        source=TRACE_SOURCES[kind],
        instance_id=instance,
        execution=run
        and events.Execution(
            arn=arn(run, machine),
            name=run,
            machine=machine,
            seq=short.pop("seq", None),
            redrive=short.pop("redrive", 0),
        ),
        state=short.pop("state", None),
        status=status,
        time=events.timestamp(
            round((START + timedelta(seconds=short.pop("at"))).timestamp() * 1000)
        ),
        terminal=status in events.EXECUTION_ENDINGS or status == "terminated",
        reason=error and {"error": error, "cause": "because"},
        detail={"inferred": True} if kind == "inferred" else {},
    )
    assert not short, f"{name}: unknown fields {list(short)}"
    return event


TRACE_SOURCES: dict[str, events.Source] = {
    "run": "workflow",
    "service": "states",
    "inferred": "reconcile",
    "ec2": "ec2",
    "asked": "reconcile",
}
TRACE_KINDS = frozenset(TRACE_SOURCES)


class Player:
    """Plays one trace against a log and a hub, and compares."""

    def __init__(self, trace: Path, open_log: OpenLog, close_log: CloseLog) -> None:
        script = yaml.safe_load(trace.read_text())
        self.steps: list[dict[str, Any]] = script["steps"]
        self.events = {
            name: expand(name, {**short, "_kind": frozenset(short)})
            for name, short in script["events"].items()
        }
        self.clients: dict[str, RecordingClient] = {}
        self.now_s = 100.0
        self._open_log = open_log
        self._close_log = close_log

    async def play(self) -> None:
        await self._start()
        try:
            for number, step in enumerate(self.steps, 1):
                ((verb, what),) = step.items()
                try:
                    await getattr(self, f"_{verb}")(what)
                    await self._settle()
                except AssertionError as error:
                    raise AssertionError(f"step {number}, {verb}: {error}") from error
        finally:
            await self._stop()

    def _now_ms(self) -> int:
        return round((START.timestamp() + self.now_s) * 1000)

    async def _start(self) -> None:
        self.log = await self._open_log(self._now_ms)
        self.hub = Hub(self.log, self._now_ms, recent=Recent(RETENTION_EVENTS))
        await self.hub.load()
        self._following = asyncio.create_task(self.hub.follow())

    async def _stop(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self.hub.close()
        await self._close_log(self.log)

    async def _settle(self) -> None:
        """Until everything that has arrived is with the clients."""
        head, _ = await self.log.newest()
        async with asyncio.timeout(5):
            while self.hub.place < head:  # noqa: ASYNC110  # one turn of the loop, not a poll
                await asyncio.sleep(0)
            while self.hub._tasks:
                await asyncio.gather(*self.hub._tasks.values())

    async def _arrive(self, names: list[str]) -> None:
        await self.log.append([self.events[name] for name in names])

    async def _verdicts(self, expected: dict[str, str]) -> None:
        """Arrive one by one, and compare what became of each."""
        for name, verdict in expected.items():
            got = await self.log.append([self.events[name]])
            assert [str(v) for v in got] == [verdict], f"{name} was {got[0]}, not {verdict}"

    async def _connect(self, what: str | dict[str, Any]) -> None:
        name, outbox = (what, 256) if isinstance(what, str) else (what["client"], what["outbox"])
        self.clients[name] = RecordingClient(self.log.epoch, outbox)
        self.hub.admit(self.clients[name])

    async def _send(self, what: dict[str, dict[str, Any]]) -> None:
        for name, message in what.items():
            request = messages.decode(msgspec.json.encode(self._concrete(message)), Limits())
            assert isinstance(request, messages.Subscribe | messages.Unsubscribe)
            self.hub.request(self.clients[name], request)

    async def _expect(self, what: dict[str, list[dict[str, Any]]]) -> None:
        """Exactly these frames since the last look."""
        for name, short in what.items():
            client = self.clients[name]
            got, client.frames = client.frames, []
            expected = [self._concrete(frame) for frame in short]
            assert got == expected, f"{name} got\n{_lines(got)}\nand not\n{_lines(expected)}"

    async def _stall(self, name: str) -> None:
        self.clients[name].stall()

    async def _go_on(self, name: str) -> None:
        self.clients[name].go_on()

    async def _beat(self, _: object) -> None:
        self.hub.beat(self.hub.clients)

    async def _wait_until(self, now_s: float) -> None:
        self.now_s = now_s

    async def _prune(self, _: object) -> None:
        self.hub.forget_ended(await self.log.prune())

    async def _restart(self, _: object) -> None:
        await self._stop()
        self.clients.clear()
        await self._start()

    def _concrete(self, short: Any) -> Any:
        """A message of the protocol from its short form in a trace."""
        if isinstance(short, dict):
            return {name: self._concrete_field(name, value) for name, value in short.items()}
        return short

    def _concrete_field(self, name: str, value: Any) -> Any:
        if name in ("cursor", "since"):
            return value.replace("E-", f"{self.log.epoch}-")
        if name == "event":
            return msgspec.to_builtins(self.events[value])
        if name == "events":
            return [msgspec.to_builtins(self.events[each]) for each in value]
        if name == "watch":
            return [each.replace("ARN:", arn("")) for each in value]
        return value


def _lines(frames: list[dict[str, Any]]) -> str:
    return "\n".join(f"  {msgspec.json.encode(frame).decode()}" for frame in frames) or "  nothing"
