"""What every log promises (`consumer.ports.StatusLog`)."""

import asyncio
from typing import Any

import msgspec
import pytest

from consumer.core import events
from consumer.core.statuses import Verdict
from consumer.ports import StatusLog, Trimmed
from tests.contract import trace
from tests.contract.conftest import Logs
from tests.core import examples

NOW_MS = 1_767_225_700_000  # 2026-01-01T00:01:40Z: the examples' minute


def now_ms() -> int:
    return NOW_MS


async def _follow(log: StatusLog, after: int, upto: int) -> list[int]:
    places: list[int] = []
    async for entries in log.changes(after):
        places += [entry.place for entry in entries]
        if places[-1] >= upto:
            return places
    raise AssertionError("the feed ended")


async def test_the_feed_begins_at_any_cursor_and_misses_nothing(logs: Logs) -> None:
    """Followers that begin before, during and after appends get every entry once, in order."""
    log = await logs.open(now_ms)
    try:
        followers = [asyncio.create_task(_follow(log, 0, 40))]
        for number in range(40):
            await log.append([examples.step(1, run=f"run-{number}")])
            if number % 10 == 5:
                followers.append(asyncio.create_task(_follow(log, number - 3, 40)))
        followers.append(asyncio.create_task(_follow(log, 20, 40)))
        async with asyncio.timeout(10):
            for after, follower in zip((0, 2, 12, 22, 32, 20), followers, strict=True):
                assert await follower == list(range(after + 1, 41))
    finally:
        await logs.close(log)


async def test_appends_at_once_are_each_answered(logs: Logs) -> None:
    """Batches that are committed together keep their own verdicts."""
    log = await logs.open(now_ms)
    try:
        batches = [[examples.step(1, run=f"many-{n}"), examples.step(1)] for n in range(30)]
        verdicts = await asyncio.gather(*(log.append(batch) for batch in batches))
        assert [pair[0] for pair in verdicts] == [Verdict.APPENDED] * 30
        assert [pair[1] for pair in verdicts].count(Verdict.APPENDED) == 1
        assert [pair[1] for pair in verdicts].count(Verdict.REPEAT) == 29
    finally:
        await logs.close(log)


async def test_a_confirmation_that_nothing_delivers_again_is_not_remembered(
    logs: Logs,
) -> None:
    """The reconciler's confirmations leave no trace; the queues', and what was sent, are known."""
    ec2 = examples.decode(examples.instance_change(state="running"))
    changes = {"id": "asked", "source": "reconcile", "time": "2026-01-01T00:00:10.000Z"}
    asked = msgspec.structs.replace(ec2, **changes)
    told = msgspec.structs.replace(ec2, **{**changes, "id": "told", "source": "ec2"})
    news = msgspec.structs.replace(
        asked, id="news", status="stopped", time="2026-01-01T00:00:11.000Z"
    )
    log = await logs.open(now_ms)
    try:
        assert await log.append([ec2, asked, asked, told, told, news, news]) == [
            Verdict.APPENDED,
            *(Verdict.CONFIRMATION, Verdict.CONFIRMATION),
            *(Verdict.CONFIRMATION, Verdict.REPEAT),
            *(Verdict.APPENDED, Verdict.REPEAT),
        ]
    finally:
        await logs.close(log)


async def test_the_number_of_kept_entries_is_bounded(logs: Logs) -> None:
    """Past the bound the oldest go; asking for them says so, and places go on rising."""
    log = await logs.open(now_ms)
    count = trace.RETENTION_EVENTS + 10
    try:
        await log.append([examples.step(1, run=f"run-{n}") for n in range(count)])
        await log.prune()
        with pytest.raises(Trimmed):
            await log.read(9, count)
        assert [entry.place for entry in await log.read(10, count)] == list(range(11, count + 1))
        _, newest = await log.newest()
        assert len(newest) == count, "what goes on is shown, though its entry is gone"
    finally:
        await logs.close(log)


async def test_the_newest_come_in_order_of_place(logs: Logs) -> None:
    """Whichever key was there first; a snapshot of all of them is not sorted again."""
    log = await logs.open(now_ms)
    try:
        await log.append(
            [examples.step(seq, run=run) for seq, run in ((1, "a"), (1, "b"), (2, "a"))]
        )
        assert [entry.place for entry in (await log.newest())[1]] == [2, 3]
    finally:
        await logs.close(log)


async def test_a_late_entry_tells_an_instance_that_was_only_confirmed(logs: Logs) -> None:
    """What stands learns it from what was sent, in the log as in the view; not from more."""
    ended: dict[str, Any] = {"status": "SUCCEEDED", "stopDate": NOW_MS}
    silent = examples.decode(examples.execution_change(**ended, input=None))
    confirmed = examples.decode({**examples.execution_change(**ended), "id": "confirmed"})
    log = await logs.open(now_ms)
    try:
        assert await log.append([silent, confirmed]) == [Verdict.APPENDED, Verdict.CONFIRMATION]
        assert (await log.newest())[1][0].event.instance_id is None
        assert await log.append([examples.step(1)]) == [Verdict.LATE]
        (newest,) = (await log.newest())[1]
        assert (newest.place, newest.event.instance_id) == (1, examples.INSTANCE)
    finally:
        await logs.close(log)


async def test_a_key_that_was_forgotten_begins_anew(logs: Logs) -> None:
    """Nothing that it was is remembered, in the process that forgot it either."""
    clock = [NOW_MS]
    log = await logs.open(lambda: clock[0])
    try:
        await log.append([examples.step(1), examples.step(2, "SUCCEEDED")])
        clock[0] += round(trace.RETENTION_S * 1000)
        await log.prune()
        again = msgspec.structs.replace(examples.step(3), time=events.timestamp(clock[0]))
        assert await log.append([again]) == [Verdict.APPENDED]
        assert [entry.place for entry in (await log.newest())[1]] == [3]
        assert [entry.place for entry in await log.history(again.key, 3)] == [3]
    finally:
        await logs.close(log)


async def test_a_history_ends_at_the_place_asked_for(logs: Logs) -> None:
    """What a key's later entries say belongs to what follows a snapshot, not into it."""
    log = await logs.open(now_ms)
    try:
        await log.append([examples.step(1), examples.step(1, run="other"), examples.step(2)])
        await log.append([examples.step(3)])
        key = examples.step(1).key
        assert [entry.place for entry in await log.history(key, 3)] == [1, 3]
    finally:
        await logs.close(log)


@pytest.mark.parametrize("status", ["CHECKING", "SUCCEEDED"])
async def test_what_was_seen_is_known_until_it_is_too_old(logs: Logs, status: str) -> None:
    """Retention ends for an event and for the memory of it in the same millisecond."""
    event = examples.step(1, status)
    clock = [events.milliseconds(event.time) + round(trace.RETENTION_S * 1000)]
    log = await logs.open(lambda: clock[0])
    try:
        assert await log.append([event]) == [Verdict.APPENDED]
        await log.prune()
        assert await log.append([event]) == [Verdict.REPEAT]
        clock[0] += 1
        await log.prune()
        assert await log.append([event]) == [Verdict.EXPIRED]
    finally:
        await logs.close(log)


async def test_an_event_from_the_future_grows_old_like_any_other(logs: Logs) -> None:
    """A clock that is wrong somewhere must not keep everything after it for ever."""
    clock = [NOW_MS]
    log = await logs.open(lambda: clock[0])
    try:
        future = examples.decode({**examples.step_body(), "time": "2099-01-01T00:00:00Z"})
        await log.append([future, examples.step(2)])
        clock[0] += round(trace.RETENTION_S * 1000) + 1_000
        await log.prune()
        with pytest.raises(Trimmed):
            await log.read(0, 2)
    finally:
        await logs.close(log)


async def test_a_trimmed_log_goes_on_where_it_was(logs: Logs) -> None:
    """With every entry gone, a reopened log still knows its head: no place is given twice."""
    clock = [NOW_MS]
    log = await logs.open(lambda: clock[0])
    await log.append([examples.step(1), examples.step(2, "SUCCEEDED")])
    clock[0] += round(trace.RETENTION_S * 1000) + 1_000_000
    await log.prune()
    epoch = log.epoch
    await logs.close(log)
    log = await logs.open(lambda: clock[0])
    try:
        assert (log.epoch, await log.newest()) == (epoch, (2, []))
        later = examples.decode(
            {**examples.step_body(), "time": "2026-01-01T02:00:00Z", "id": "later"}
        )
        await log.append([later])
        assert [entry.place for entry in await log.read(2, 3)] == [3]
    finally:
        await logs.close(log)
