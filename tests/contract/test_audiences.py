"""Who watches the same shares what is due: each client still gets what it watches, and no more."""

import asyncio
import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from consumer.core.entries import Batch, Entry
from consumer.core.messages import Subscribe, Unsubscribe
from consumer.hub import MAX_JOINED_EVENTS, Hub
from tests.contract.trace import RecordingClient
from tests.core import examples
from tests.edges.stage import SlowLog

SEEDS = 500 if os.environ.get("LONG") else 60
PATTERNS = (
    *("*", "machine:standard", f"instance:{examples.INSTANCE}", "machine:express"),
    *("execution:run-1", "execution:run-2", f"execution:{examples.ARN}"),
)


class Given(RecordingClient):
    """Keeps what it was given since the last look."""

    def __init__(self, outbox: int) -> None:
        super().__init__("e", outbox)
        self.given: list[Entry] = []
        self.frames_given: list[bytes] = []

    def deliver(self, batch: Batch) -> bool:
        self.given += batch.entries
        self.frames_given.append(batch.frames)
        return super().deliver(batch)


class Feed(SlowLog):
    """A log whose changes the test pushes."""

    def take(self, dice: random.Random) -> list[Entry]:
        runs = [f"run-{dice.randint(1, 3)}" for _ in range(dice.randint(1, 5))]
        fresh = []
        for place, run in enumerate(runs, len(self.entries) + 1):
            instance = dice.choice([examples.INSTANCE, None])
            event = examples.step(1 + place % 50, run=run, instance_id=instance)
            fresh.append(examples.entry(place, event, late=dice.random() < 0.2))
        self.entries += fresh
        return fresh


def _wanted(client: RecordingClient, entries: Iterable[Entry]) -> list[Entry]:
    watch = client.session.watch.keys()
    return [entry for entry in entries if not watch.isdisjoint(entry.patterns)]


def _publish(hub: Hub, clients: Sequence[Given], entries: list[Entry]) -> None:
    """Each live client is given what it watches, once and in order; nobody else anything."""
    for client in clients:
        client.given, client.frames_given = [], []
    assert [hub.watchers(entry) for entry in entries] == [
        sum(each.session.is_live and bool(_wanted(each, [entry])) for each in hub.clients)  # type: ignore[arg-type]
        for entry in entries
    ]
    hub._publish(entries)
    for client in clients:
        is_live = client.session.is_live and client in hub.clients
        assert client.given == (_wanted(client, entries) if is_live else [])
        assert len(client.frames_given) <= 1, "in one write"


def _check(hub: Hub) -> None:
    """Nothing is left of audiences that nobody is in, and everybody is in one at most."""
    audiences = list(hub._audiences)
    assert all(audience.members for audience in audiences)
    together = [client for audience in audiences for client in audience.members]
    watching = [each for each in hub.clients if each.session.is_live and each.session.watch]
    assert sorted(map(id, together)) == sorted(map(id, watching))
    several = {audience for found in hub._audiences._of_several.values() for audience in found}
    assert several <= set(audiences)
    assert all(hub._audiences._of_several.values())


def _act(hub: Hub, clients: list[Given], dice: random.Random, log: Feed) -> None:
    """Somebody comes, goes, asks for more or less, stalls or reads on."""
    if len(clients) < 6 and dice.random() < 0.3:
        clients.append(Given(dice.choice([2, 256])))
        hub.admit(clients[-1])
    if not clients:
        return
    client = dice.choice(clients)
    what = dice.random()
    if what < 0.08:
        client.close(1006, "lost")
        hub.dismiss(client)
        clients.remove(client)
    elif what < 0.4:
        since = f"e-{dice.randint(0, len(log.entries))}" if dice.random() < 0.4 else None
        hub.request(client, Subscribe(dice.sample(PATTERNS, dice.randint(1, 3)), since=since))
    elif what < 0.65:
        hub.request(client, Unsubscribe(dice.sample(PATTERNS, dice.randint(1, 4))))
    elif what < 0.85:
        client.stall()
    else:
        client.go_on()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_each_live_client_is_given_what_it_watches(seed: int) -> None:
    """While watches overlap, grow and shrink, live, stalled, conflating or being served."""
    dice = random.Random(seed)
    log: Any = Feed(dice)
    hub = Hub(log, lambda: 0)
    clients: list[Given] = []
    for _ in range(150):
        _act(hub, clients, dice, log)
        if dice.random() < 0.5:
            _publish(hub, clients, log.take(dice))
        for _ in range(dice.choice([0, 0, 1, 5, 30])):
            await asyncio.sleep(0)
        _check(hub)
    for client in clients:
        client.go_on()
    async with asyncio.timeout(10):
        while hub._tasks:
            await asyncio.gather(*hub._tasks.values())
    _check(hub)
    for client in clients:
        assert client.closed_with is None
        hub.dismiss(client)
    assert not hub._audiences
    assert not hub._audiences._of_several


async def test_those_who_watch_the_same_get_the_same_bytes() -> None:
    """Joined once, however many they are and in whatever order they named their patterns."""
    log: Any = Feed(random.Random(0))
    hub = Hub(log, lambda: 0)
    clients = [Given(256) for _ in range(3)]
    for client, watch in zip(
        clients, (["*", "execution:run-1"], ["execution:run-1", "*"], ["*"]), strict=True
    ):
        hub.admit(client)
        hub.request(client, Subscribe(watch))
    await asyncio.gather(*hub._tasks.values())
    _publish(hub, clients, log.take(random.Random(1)))
    one, other, third = (client.frames_given[0] for client in clients)
    assert one is other
    assert one == third
    assert one is not third
    assert len(log.entries) <= MAX_JOINED_EVENTS
