"""The contract's section 1, for any history in any order, with repeats, batches and restarts."""

import asyncio
import os
import random
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.view import View
from consumer.ports import StatusLog
from tests.contract import history, trace
from tests.contract.conftest import Logs
from tests.contract.history import START_MS, Judge, histories

EXAMPLES = 500 if os.environ.get("LONG") else 60
RETENTION_MS = round(trace.RETENTION_S * 1000)
SOON_MS = START_MS + 100_000
DICE = st.randoms(use_true_random=False)
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _arrivals(said: list[Event], dice: random.Random) -> list[Event]:
    """All of it in any order, some of it again; a step may come again under another id."""
    again = [event for event in said if dice.random() < 0.4]
    again = [
        msgspec.structs.replace(event, id=f"{event.id}-again")
        if event.source == "workflow" and dice.random() < 0.5
        else event
        for event in again
    ]
    return dice.sample(said + again, len(said) + len(again))


def _batches(arrivals: list[Event], dice: random.Random) -> Iterator[list[Event]]:
    while arrivals:
        size = dice.randint(1, 6)
        yield arrivals[:size]
        arrivals = arrivals[size:]


async def _all(log: StatusLog) -> list[Entry]:
    entries: list[Entry] = []
    while more := await log.read(len(entries), log.head):
        entries += more
    return entries


@many
@given(said=histories(), dice=DICE)
async def test_any_order_ends_in_the_same_statuses(
    logs: Logs, said: list[Event], dice: random.Random
) -> None:
    """Each event is sent once, late if it is not the newest, and the newest of each key stands."""
    logs.renew()
    log: Any = await logs.open(lambda: SOON_MS)
    judge = Judge(RETENTION_MS)
    try:
        for batch in _batches(_arrivals(said, dice), dice):
            assert await log.append(batch) == [judge.take(event, SOON_MS) for event in batch]
            if dice.random() < 0.1:
                await logs.close(log)
                log = await logs.open(lambda: SOON_MS)
        entries = await _all(log)
        head, newest = await log.newest()
        assert [entry.place for entry in entries] == list(range(1, head + 1))
        stands = {entry.key: entry.event for entry in newest}
        assert {key: event.status for key, event in stands.items()} == _statuses(said)
        for key in stands:
            assert await log.history(key, head) == [e for e in entries if e.key == key]
        _check_sent(said, entries)
        _check_view(newest, entries)
    finally:
        await logs.close(log)


def _statuses(said: list[Event]) -> dict[str, str]:
    by_key: dict[str, list[Event]] = {}
    for event in said:
        by_key.setdefault(event.key, []).append(event)
    return {key: history.newest(of_key).status for key, of_key in by_key.items()}


def _check_sent(said: list[Event], entries: list[Entry]) -> None:
    sent = [entry.event for entry in entries]
    for event in said:
        times = sum(history.same(event, one) for one in sent)
        assert times <= 1
        assert times == 1 or event.source != "workflow", "every publish step is sent"


def _check_view(newest: list[Entry], entries: list[Entry]) -> None:
    """The hub, which sees entries only, has what the log has; with its instance if any told it."""
    view = View()
    for entry in entries:
        view.apply(entry)
    shown = view.matching(["*"])
    assert [(e.place, e.event, e.payload, e.patterns) for e in shown] == [
        (e.place, e.event, e.payload, e.patterns)
        for e in sorted(newest, key=lambda entry: entry.place)
    ]
    for entry in newest:
        told = {one.event.instance_id for one in entries if one.key == entry.key} - {None}
        assert told <= {entry.event.instance_id}


@many
@given(said=histories(), dice=DICE)
async def test_what_retention_forgot_never_comes_back(
    logs: Logs, said: list[Event], dice: random.Random
) -> None:
    """With time going by and pruning at any moment, nothing is sent twice or after its time."""
    logs.renew()
    clock = [SOON_MS]
    log = await logs.open(lambda: clock[0])
    sent: list[Event] = []
    try:
        for event in _arrivals(said, dice):
            clock[0] += dice.choice([0, 500, RETENTION_MS // 8])
            (verdict,) = await log.append([event])
            old = clock[0] - events.milliseconds(event.time) > RETENTION_MS
            assert (verdict == "expired") == old
            if verdict.is_sent:
                assert not any(history.same(event, one) for one in sent)
                sent.append(event)
            if dice.random() < 0.3:
                await log.prune()
        clock[0] = SOON_MS + 2 * RETENTION_MS
        await log.prune()
        _, before = await log.newest()
        assert not any(entry.event.terminal for entry in before), "what ended has faded out"
        assert {str(verdict) for verdict in await log.append(said)} <= {"expired"}
        assert (await log.newest())[1] == before
    finally:
        await logs.close(log)


@many
@given(said=histories(), dice=DICE)
async def test_batches_at_once_are_as_good_as_in_turn(
    logs: Logs, said: list[Event], dice: random.Random
) -> None:
    """What several polls append side by side ends in the same statuses, each event sent once."""
    logs.renew()
    log = await logs.open(lambda: SOON_MS)
    try:
        batches = list(_batches(_arrivals(said, dice), dice))
        await asyncio.gather(*(log.append(batch) for batch in batches))
        entries = await _all(log)
        _, newest = await log.newest()
        assert {entry.key: entry.event.status for entry in newest} == _statuses(said)
        _check_sent(said, entries)
        _check_view(newest, entries)
    finally:
        await logs.close(log)
