"""The Redis log: many processes, lost answers, restarts, failovers, and who leads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumer.core.events import Event
from consumer.core.messages import Subscribe
from consumer.core.recent import Recent
from consumer.core.statuses import Verdict
from consumer.edges import redis_log
from consumer.edges.redis_log import RedisLog
from consumer.edges.redis_server import RedisServer
from consumer.hub import Hub
from consumer.ports import EpochEnded, LogUnavailable, LogUnusable, StatusLog, Trimmed
from consumer.redis_address import address
from tests import redis_processes
from tests.contract.trace import RecordingClient
from tests.core import examples
from tests.redis_processes import RedisProcess

NOW_MS = 1_767_225_700_000
RETENTION_S = 3_600.0
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def steps(*runs: str, seq: int = 1) -> list[Event]:
    return [examples.step(seq, run=run) for run in runs]


class Place:
    """A server of one's own, and logs in it."""

    def __init__(self, folder: Path, binary: str) -> None:
        self.server = RedisProcess(binary, folder / "server")
        self.server.start()
        self.folder = folder
        self.binary = binary
        self._opened: list[RedisLog] = []

    async def open(self, port: int | None = None, **options: Any) -> RedisLog:
        """A log, as another process would have it."""
        log = self.log(port, **options)
        await log.open()
        self._opened.append(log)
        return log

    def log(self, port: int | None = None, **options: Any) -> RedisLog:
        defaults: dict[str, Any] = {
            "retention_s": RETENTION_S, "retention_events": 1_000, "now_ms": lambda: NOW_MS,
        }  # fmt: skip
        where = address(f"redis://127.0.0.1:{port or self.server.port}")
        return RedisLog(RedisServer(where, name="test"), **defaults | options)

    def replica(self, number: int = 1) -> RedisProcess:
        """A replica of the server, in step with it."""
        primary = ("--replicaof", "127.0.0.1", str(self.server.port))
        replica = RedisProcess(self.binary, self.folder / f"replica-{number}", *primary)
        replica.start()
        replica.wait_for_primary()
        return replica

    def say(self, *words: str, port: int | None = None) -> str:
        """What redis-cli answers."""
        return redis_processes.say(port or self.server.port, *words)

    async def close(self) -> None:
        for log in self._opened:
            await log.close()
        self.server.kill()


@pytest.fixture(params=redis_processes.BINARIES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path, request.param)
    yield place
    await place.close()


async def places(log: StatusLog, head: int) -> list[int]:
    return [entry.place for entry in await log.read(0, head)]


async def follow(log: StatusLog, after: int, count: int) -> list[int]:
    """The places of the next entries after one."""
    found: list[int] = []
    async with asyncio.timeout(20):
        async for entries in log.changes(after):
            found += [entry.place for entry in entries]
            if len(found) >= count:
                return found
    raise AssertionError("the feed ended")


async def insist(log: StatusLog, batch: Sequence[Event]) -> list[Verdict]:
    """Append it as the pipeline does: again and again, until the log takes it."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await log.append(batch)
            except LogUnavailable:
                await asyncio.sleep(0.1)


async def test_rest_joins_what_comes_meanwhile(place: Place) -> None:
    """What comes after silence is told at once; what follows is told together, and all of it."""
    log = await place.open(rest_s=3.0)
    changes = log.changes(0)
    told = asyncio.ensure_future(anext(changes))
    await log.append(steps("run-1"))
    assert [entry.place for entry in await told] == [1]
    told = asyncio.ensure_future(anext(changes))
    for run in ("run-2", "run-3", "run-4"):
        await log.append(steps(run))
    assert [entry.place for entry in await told] == [2, 3, 4]


async def test_two_processes_take_each_event_once(place: Place) -> None:
    """What both are given at the same moment is appended by one, and a repeat to the other."""
    one, other = await place.open(), await place.open()
    batch = [examples.step(seq, run=f"run-{run}") for run in range(10) for seq in range(1, 6)]
    batch += [examples.decode({**examples.execution_change(), "id": f"told-{n}"}) for n in range(5)]
    both = await asyncio.gather(
        *(log.append(batch[n : n + 5]) for n in range(0, 55, 5) for log in (one, other))
    )
    verdicts = [verdict for some in both for verdict in some]
    sent = sum(verdict.is_sent for verdict in verdicts)
    head, newest = await one.newest()
    assert sent == head == len(await places(other, head)) == len(batch)
    assert len(newest) == 10
    assert [entry.event for entry in (await other.newest())[1]] == [entry.event for entry in newest]


async def test_what_another_process_knows_is_judged_by(place: Place) -> None:
    """A confirmation by an old look at a key is no confirmation: it may have changed meanwhile."""
    running, stopped = (
        examples.decode(
            {**examples.instance_change(state=state), "id": state, "time": f"2026-01-01T00:00:{s}Z"}
        )
        for state, s in (("running", 10), ("stopped", 30))
    )
    again = msgspec.structs.replace(running, id="again", time="2026-01-01T00:00:20.000Z")
    one, other = await place.open(), await place.open()
    assert await one.append([running]) == [Verdict.APPENDED]
    assert await other.append([stopped]) == [Verdict.APPENDED]
    assert await one.append([again]) == [Verdict.LATE]


async def test_an_append_whose_answer_was_lost_is_a_repeat(place: Place) -> None:
    """Given again, it was taken: nothing is there twice."""
    log = await place.open()
    server = log._server
    run = server.run

    async def lose_the_answer(script: Any, *values: Any) -> Any:
        answer = await run(script, *values)
        if script is not redis_log._APPEND:
            return answer
        server.run = run  # type: ignore[method-assign]
        raise LogUnavailable("the answer was lost")

    await log.append(steps("run-1"))
    server.run = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(LogUnavailable):
        await log.append(steps("run-1", "run-2", seq=2))
    assert await log.append(steps("run-1", "run-2", seq=2)) == [Verdict.REPEAT] * 2
    assert (await log.newest())[0] == 3


async def test_scripts_that_the_server_forgot_are_loaded_again(place: Place) -> None:
    """A restart, or SCRIPT FLUSH, costs one round trip."""
    log = await place.open()
    await log.append(steps("run-1"))
    place.say("SCRIPT", "FLUSH")
    assert await log.append(steps("run-2")) == [Verdict.APPENDED]
    place.say("SCRIPT", "FLUSH")
    assert await places(log, 2) == [1, 2]


async def test_the_stream_is_bounded_by_appends_alone(place: Place) -> None:
    """Memory is, whether or not anybody prunes."""
    log = await place.open(retention_events=100)
    for n in range(40):
        await log.append(steps(*(f"run-{n}-{m}" for m in range(100))))
    assert int(place.say("XLEN", "{test}:stream")) <= 100 + 1_000 + 200
    with pytest.raises(Trimmed):
        await log.read(0, 100)
    assert await log.read(3_900, 4_000)


async def test_pruning_in_parts_drops_all_that_is_old(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is never held up for long, and nothing is left over."""
    monkeypatch.setattr(redis_log, "PRUNED", 7)
    clock = [NOW_MS]
    log = await place.open(now_ms=lambda: clock[0])
    await log.append([examples.step(1, "SUCCEEDED", run=f"run-{n}") for n in range(50)])
    told = [examples.decode({**examples.execution_change(), "id": f"{n}"}) for n in range(50)]
    await log.append(told)
    clock[0] += round(RETENTION_S * 1000) + 100_000
    await log.prune()
    assert [place.say("HLEN", "{test}:standings"), place.say("ZCARD", "{test}:seen")] == ["0", "0"]
    assert place.say("ZCARD", "{test}:ended") == "0"
    with pytest.raises(Trimmed):
        await log.read(50, 51)


async def test_a_restart_that_lost_nothing_goes_on_in_a_new_epoch(place: Place) -> None:
    """Nothing proves that it lost nothing; what it has kept is known all the same."""
    place.server.kill()
    place.server.start(*DURABLE)
    log = await place.open()
    await log.append(steps("run-1", "run-2"))
    before = log.epoch
    place.server.kill()
    place.server.start(*DURABLE)
    assert await insist(log, steps("run-1", "run-3")) == [Verdict.REPEAT, Verdict.APPENDED]
    with pytest.raises(EpochEnded):
        await log.read(0, 2)
    with pytest.raises(EpochEnded):
        await follow(log, 2, 1)
    assert log.epoch == before
    head, newest = await log.newest()
    assert (head, len(newest)) == (3, 3)
    assert log.epoch != before
    assert await places(log, 3) == [1, 2, 3]


async def test_a_restart_that_lost_everything_begins_again(place: Place) -> None:
    """Places begin anew, in an epoch of their own."""
    log = await place.open()
    await log.append(steps("run-1", "run-2"))
    before = log.epoch
    place.server.kill()
    place.server.start()
    assert await insist(log, steps("run-2")) == [Verdict.APPENDED]
    assert (await log.newest())[0] == 1
    assert log.epoch != before
    assert log.head == 1


async def test_a_replica_that_lagged_behind_is_another_epoch(place: Place) -> None:
    """Promoted, it lacks what was acknowledged; the places that it gives again are not the same."""
    log = await place.open()
    await log.append(steps("run-1"))
    replica = place.replica()
    try:
        place.say("REPLICAOF", "NO", "ONE", port=replica.port)  # cut off from here on
        await log.append(steps("run-2", "run-3"))
        promoted = await place.open(replica.port)
        assert promoted.epoch != log.epoch
        assert await promoted.append(steps("run-4")) == [Verdict.APPENDED]
        assert [entry.event.execution.name for entry in await promoted.read(1, 2)] == ["run-4"]  # type: ignore[union-attr]
    finally:
        replica.kill()


async def test_a_feed_waits_while_the_server_is_away(place: Place) -> None:
    """It says for how long, and goes on with what came after: nothing is skipped."""
    log = await place.open()
    await log.append(steps("run-1"))
    following = asyncio.create_task(follow(log, 0, 3))
    await asyncio.sleep(0.1)
    assert log.away_s == 0
    place.server.pause()
    try:
        await until(lambda: log.away_s > 0)
        with pytest.raises(LogUnavailable):
            await log.append(steps("run-2"))
    finally:
        place.server.go_on()
    await insist(log, steps("run-2", "run-3"))
    assert await following == [1, 2, 3]
    assert log.away_s == 0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 # for what has no event of its own
            await asyncio.sleep(0.02)


async def test_a_server_that_is_not_there_is_told(place: Place) -> None:
    """At the start the operator must act."""
    place.server.kill()
    with pytest.raises(LogUnusable):
        await place.log().open()


async def test_an_entry_counts_as_committed_once_replicas_have_it(place: Place) -> None:
    """Without them the message is not acknowledged, however often it is given."""
    log = await place.open(replicas=1, wait_ms=100)
    with pytest.raises(LogUnavailable, match="0 of 1"):
        await log.append(steps("run-1"))
    with pytest.raises(LogUnavailable, match="0 of 1"):
        await log.append(steps("run-1"))
    replica = place.replica()
    try:
        assert await insist(log, steps("run-1")) == [Verdict.REPEAT]
        assert place.say("XLEN", "{test}:stream", port=replica.port) == "1"
    finally:
        replica.kill()


class Work:
    """What a leader does: it appends what it is told to."""

    def __init__(self) -> None:
        self.log: StatusLog | None = None
        self.is_cancelled = False

    async def __call__(self, log: StatusLog) -> None:
        self.log = log
        try:
            await asyncio.Event().wait()
        finally:
            self.is_cancelled = True


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_log, "LEASE_MS", 600)


@pytest.mark.usefixtures("leases")
async def test_one_process_leads_and_another_when_it_ends(place: Place) -> None:
    """It gives the lead back, so that nobody has to wait for the lease to end."""
    logs = [await place.open(), await place.open()]
    works = [Work(), Work()]
    tasks = [asyncio.create_task(log.lead(work)) for log, work in zip(logs, works, strict=True)]
    await until(lambda: any(work.log for work in works))
    await asyncio.sleep(1.0)  # more than a lease
    leads = 0 if works[0].log else 1
    assert not works[1 - leads].log
    assert not works[leads].is_cancelled
    tasks[leads].cancel()
    await until(lambda: works[1 - leads].log)
    assert works[leads].is_cancelled
    tasks[1 - leads].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("leases")
async def test_who_no_longer_leads_appends_nothing(place: Place) -> None:
    """A process that stood still for the length of its lease does not know yet that it is over."""
    old, new = await place.open(), await place.open()
    first, second = Work(), Work()
    leading = asyncio.create_task(old.lead(first))
    await until(lambda: first.log)
    assert first.log is not None
    assert await first.log.append(steps("run-1")) == [Verdict.APPENDED]
    run = old._server.run

    async def stand_still(script: Any, *values: Any) -> Any:
        if script is redis_log._LEASE:
            await asyncio.sleep(5)
        return await run(script, *values)

    old._server.run = stand_still  # type: ignore[method-assign]
    following = asyncio.create_task(new.lead(second))
    await until(lambda: second.log)
    assert second.log is not None
    with pytest.raises(LogUnavailable, match="leads"):
        await first.log.append(steps("run-2"))
    assert await second.log.append(steps("run-2")) == [Verdict.APPENDED]
    assert await old.append(steps("run-3")) == [Verdict.APPENDED], "others' messages are anybody's"
    old._server.run = run  # type: ignore[method-assign]
    await until(lambda: first.is_cancelled)
    for task in (leading, following):
        task.cancel()
    await asyncio.gather(leading, following, return_exceptions=True)


async def test_what_fails_in_the_leader_fails_the_process(place: Place) -> None:
    """A reconciler that died must not look like one that leads."""
    log = await place.open()

    async def fail(_: StatusLog) -> None:
        raise RuntimeError("died")

    with pytest.raises(RuntimeError, match="died"):
        await log.lead(fail)


async def told(client: RecordingClient, op: str) -> dict[str, Any]:
    """The next frame of a kind."""
    await until(lambda: any(frame["op"] == op for frame in client.frames))
    while True:
        frame = client.frames.pop(0)
        if frame["op"] == op:
            return frame


async def test_clients_are_told_of_a_new_epoch(place: Place) -> None:
    """They get a gap and what stands, and from there on each event once; old cursors are gaps."""
    place.server.kill()
    place.server.start(*DURABLE)
    log = await place.open()
    hub = Hub(log, lambda: NOW_MS)
    await hub.load()
    following = asyncio.create_task(hub.follow())
    try:
        client, idle = RecordingClient(""), RecordingClient("")
        for each in (client, idle):
            hub.admit(each)
        hub.request(client, Subscribe(["*"]))
        await told(client, "snapshot")
        await log.append(steps("run-1", "run-2"))
        old = (await told(client, "status"))["cursor"]
        await told(client, "status")
        client.stall()  # so that it holds something back when the epoch ends
        await log.append(steps("run-3"))
        await until(lambda: hub.place == 3)
        before = log.epoch
        place.server.kill()
        place.server.start(*DURABLE)
        await until(lambda: log.epoch != before)
        client.go_on()
        assert (await told(client, "status"))["cursor"] == f"{before}-3"
        assert (await told(client, "gap"))["cursor"] == f"{log.epoch}-3"
        snapshot = await told(client, "snapshot")
        assert (snapshot["cursor"], len(snapshot["events"])) == (f"{log.epoch}-3", 3)
        await insist(log, steps("run-4"))
        assert (await told(client, "status"))["cursor"] == f"{log.epoch}-4"
        hub.request(client, Subscribe(["machine:standard"], "again", since=old))
        assert (await told(client, "gap"))["id"] == "again"
        assert not idle.frames, "who watches nothing has missed nothing"
        hub.beat(hub.clients)
        assert (await told(client, "heartbeat"))["cursor"] == f"{log.epoch}-4"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await hub.close()


async def test_memory_ends_with_its_epoch(place: Place) -> None:
    """Places begin again where all was lost, and what stood at them before is told to nobody."""
    log = await place.open()
    hub = Hub(log, lambda: NOW_MS, recent=Recent(100))
    await hub.load()
    following = asyncio.create_task(hub.follow())
    try:
        await log.append(steps("run-1", "run-2", "run-3"))
        await until(lambda: hub.place == 3)
        place.server.kill()
        place.server.start()  # without its memory, and nothing was on a disk
        await until(lambda: hub.place == 0)
        await insist(log, steps("run-8"))
        await insist(log, steps("run-9"))
        await until(lambda: hub.place == 2)
        client = RecordingClient(hub.epoch)
        hub.admit(client)
        hub.request(client, Subscribe(["*"], since=f"{log.epoch}-0"))
        await until(lambda: any(frame["op"] == "resumed" for frame in client.frames))
        ids = [frame["event"]["id"] for frame in client.frames if frame["op"] == "status"]
        assert ids == ["run-8.1", "run-9.1"]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await hub.close()
