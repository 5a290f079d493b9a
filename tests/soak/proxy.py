"""A proxy between the consumer and SQS that does, by a seed, what networks and services do."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import aiohttp

from infra.local.places import HOST

HANG_S: Final = (0.3, 2.5)
UPSTREAM_S: Final = 30.0


class Ask(NamedTuple):
    """One request of the consumer."""

    target: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What SQS says to it."""

    status: int
    body: bytes
    kind: str = "application/x-amz-json-1.0"
    date_skew_s: float = 0.0


class Cut(Exception):
    """The connection is reset; the bytes given are all that arrive before."""

    def __init__(self, before: bytes = b"") -> None:
        super().__init__()
        self.before = before


Fault = Callable[["FaultProxy", Ask], Awaitable[Answer]]


class FaultProxy:
    """Passes requests on to `upstream`; while `faulty`, some of them not as they should be.

    `plan` gives each fault its share of the requests; each is rolled for by the seed.
    """

    def __init__(self, upstream: str, dice: random.Random) -> None:
        self.faulty = False
        self.done: Counter[str] = Counter()
        self.dice = dice
        self.plan = make_plan(dice)
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self.previous: dict[tuple[str, bytes], Answer] = {}

    async def start(self) -> None:
        """Listens on a free port; `endpoint` is known then."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=UPSTREAM_S))
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.endpoint = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    async def forward(self, ask: Ask) -> Answer:
        """The honest answer."""
        async with self._http.post(self._upstream, data=ask.body, headers=ask.headers) as answer:
            honest = Answer(answer.status, await answer.read())
        if honest.status == 200:
            self.previous[ask.target, _queue(ask)] = honest
        return honest

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while (ask := await _read(reader)) is not None:
                answer = await self._answer(ask)
                writer.write(_encode(answer))
                await writer.drain()
        except Cut as cut:
            writer.write(cut.before)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError, aiohttp.ClientError, TimeoutError):
            writer.transport.abort()
        except asyncio.CancelledError:  # by `stop`; raised, asyncio would print it
            return
        finally:
            writer.close()

    async def _answer(self, ask: Ask) -> Answer:
        if not self.faulty:
            return await self.forward(ask)
        names = list(self.plan)
        (name,) = self.dice.choices(names, [self.plan[each] for each in names])
        self.done[name] += 1
        return await FAULTS[name](self, ask)


async def _fine(proxy: FaultProxy, ask: Ask) -> Answer:
    return await proxy.forward(ask)


async def _delay(proxy: FaultProxy, ask: Ask) -> Answer:
    await asyncio.sleep(proxy.dice.uniform(0.02, 0.6))
    answer = await proxy.forward(ask)
    await asyncio.sleep(proxy.dice.uniform(0.02, 0.6))
    return answer


async def _reset_before(_: FaultProxy, __: Ask) -> Answer:
    raise Cut


async def _reset_after(proxy: FaultProxy, ask: Ask) -> Answer:
    """The request had its effect, and nobody hears of it."""
    await proxy.forward(ask)
    raise Cut


async def _cut_short(proxy: FaultProxy, ask: Ask) -> Answer:
    """The connection breaks in the middle of the answer."""
    answer = _encode(await proxy.forward(ask))
    raise Cut(answer[: proxy.dice.randrange(1, len(answer))])


async def _server_error(proxy: FaultProxy, ask: Ask) -> Answer:
    """500 and 503, with and without a body; the request had its effect or had not."""
    if proxy.dice.random() < 0.3:
        await proxy.forward(ask)
    return proxy.dice.choice(
        [
            Answer(500, b""),
            Answer(503, b""),
            Answer(503, b"<html>Service Unavailable</html>", "text/html"),
            _error(500, "InternalFailure"),
            _error(503, "ServiceUnavailable"),
        ]
    )


async def _throttle(proxy: FaultProxy, _: Ask) -> Answer:
    return _error(proxy.dice.choice([400, 403]), "RequestThrottled")


async def _denied(proxy: FaultProxy, _: Ask) -> Answer:
    """Expired credentials, and a clock that is wrong."""
    codes = ["ExpiredTokenException", "InvalidSignatureException", "RequestTimeTooSkewed"]
    return _error(403, proxy.dice.choice(codes))


async def _half_open(proxy: FaultProxy, ask: Ask) -> Answer:
    """Nothing comes for a while, then the connection turns out to be dead."""
    if proxy.dice.random() < 0.5:
        await proxy.forward(ask)
    await asyncio.sleep(proxy.dice.uniform(*HANG_S))
    raise Cut


async def _silent(proxy: FaultProxy, ask: Ask) -> Answer:
    """Nothing comes until the consumer itself gives up."""
    if proxy.dice.random() < 0.5:
        await proxy.forward(ask)
    await asyncio.sleep(120)
    raise Cut


async def _replay(proxy: FaultProxy, ask: Ask) -> Answer:
    """An earlier answer to such a request; this one had its effect or had not."""
    earlier = proxy.previous.get((ask.target, _queue(ask)))
    if earlier is None or proxy.dice.random() < 0.5:
        answer = await proxy.forward(ask)
    return earlier or answer


async def _twice(proxy: FaultProxy, ask: Ask) -> Answer:
    """The request arrives twice, and the second answer comes back."""
    await proxy.forward(ask)
    return await proxy.forward(ask)


async def _garbage(proxy: FaultProxy, ask: Ask) -> Answer:
    await proxy.forward(ask)
    bodies = [b"", b"{", b"[]", b"null", b'{"Messages": [{}]}', b'{"Messages": 1}', b"\xff\xfe"]
    if proxy.dice.random() < 0.2:
        raise Cut(b"SSH-2.0-not HTTP at all\r\n")
    return Answer(200, proxy.dice.choice(bodies))


async def _skew(proxy: FaultProxy, ask: Ask) -> Answer:
    """The server's clock is hours or days away."""
    answer = await proxy.forward(ask)
    return answer._replace(date_skew_s=proxy.dice.uniform(-1e6, 1e6))


FAULTS: Final[dict[str, Fault]] = {
    "fine": _fine, "delay": _delay, "reset before": _reset_before, "reset after": _reset_after,
    "cut short": _cut_short, "server error": _server_error, "throttled": _throttle,
    "denied": _denied, "half-open": _half_open, "silent": _silent, "replay": _replay,
    "twice": _twice, "garbage": _garbage, "skewed date": _skew,
}  # fmt: skip


def make_plan(dice: random.Random) -> dict[str, float]:
    """Each fault's share: each seed has some of them, and between 30 % and 80 % in all."""
    kinds = [name for name in FAULTS if name not in ("fine", "silent")]
    chosen = dice.sample(kinds, dice.randint(2, len(kinds)))
    shares = {name: dice.uniform(0.2, 1.0) for name in chosen}
    total = sum(shares.values())
    plan = {name: share / total for name, share in shares.items()}
    if dice.random() < 0.1:  # a tenth of the seeds: each costs 11 s, the consumer's patience
        plan["silent"] = 0.02
    plan["fine"] = sum(plan.values()) * dice.uniform(0.25, 2.3)
    return plan


def _error(status: int, code: str) -> Answer:
    return Answer(
        status, json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "…"}).encode()
    )


def _queue(ask: Ask) -> bytes:
    """What an answer may be replayed to; other services' requests only to the same."""
    try:
        return str(json.loads(ask.body)["QueueUrl"]).encode()
    except (ValueError, KeyError):
        return ask.body


async def _read(reader: asyncio.StreamReader) -> Ask | None:
    """The next request; None where the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    passed = {
        name: value
        for name, value in headers.items()
        if name.startswith("x-amz") or name in ("content-type", "authorization")
    }
    return Ask(headers.get("x-amz-target", ""), passed, body)


def _encode(answer: Answer) -> bytes:
    date = datetime.now(UTC) + timedelta(seconds=answer.date_skew_s)
    head = (
        f"HTTP/1.1 {answer.status} .\r\nContent-Type: {answer.kind}\r\n"
        f"Date: {date:%a, %d %b %Y %H:%M:%S} GMT\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    )
    return head.encode() + answer.body
