"""The hub, with a log that answers when it is told to: what may happen between two awaits."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from consumer.core.entries import Entry
from consumer.core.messages import Subscribe, Unsubscribe
from consumer.hub import INTERNAL_ERROR, MAX_WRITE_BYTES, Hub
from consumer.ports import EpochEnded, LogUnavailable, Trimmed
from tests.contract.trace import RecordingClient
from tests.core import examples

NOW_MS = 1_767_225_600_000  # the second before the examples' first step


class FakeLog:
    """A log of entries in memory. While closed it lets whoever reads wait."""

    head = 0
    away_s = 0.0

    def __init__(self) -> None:
        self.epoch = self.present = "e"
        self.entries: list[Entry] = []
        self.fails: Exception | None = None
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._arrived = asyncio.Event()

    def arrive(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._arrived.set()

    def begin(self, epoch: str) -> None:
        """A new epoch, of which nothing stands yet."""
        self.present = epoch
        self.entries = []
        self._arrived.set()

    async def newest(self) -> tuple[int, list[Entry]]:
        self.epoch = self.present
        return 0, []

    async def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        epoch = self.epoch
        while True:
            if epoch != self.present:
                raise EpochEnded
            yield self.entries[after:]
            after = len(self.entries)
            self._arrived.clear()
            await self._arrived.wait()

    async def read(self, after: int, upto: int) -> list[Entry]:
        epoch = self.epoch
        await self._answer()
        if epoch != self.present:
            raise EpochEnded
        return self.entries[after:upto]

    async def history(self, key: str, upto: int) -> list[Entry]:
        epoch = self.epoch
        await self._answer()
        if epoch != self.present:
            raise EpochEnded
        return [entry for entry in self.entries[:upto] if entry.key == key]

    async def _answer(self) -> None:
        await self.may_read.wait()
        if (error := self.fails) is not None:
            self.fails = None
            raise error


class Stage:
    """A hub that follows a log, and one client of it."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.hub = Hub(self.log, lambda: NOW_MS)  # type: ignore[arg-type]
        self.client = RecordingClient("e")
        self.hub.admit(self.client)
        self.following = asyncio.create_task(self.hub.follow())

    async def arrive(self, *runs: str, detail: dict[str, str] | None = None) -> None:
        for run in runs:
            place = len(self.log.entries) + 1
            event = examples.step(place, run=run, detail=detail or {})
            self.log.arrive(examples.entry(place, event, epoch=self.log.present))
        await settle()

    async def ask(self, *requests: Subscribe | Unsubscribe) -> None:
        for request in requests:
            self.hub.request(self.client, request)
        await settle()

    def stalling_write(self, frame: bytes) -> None:
        """The client's, when each frame fills its socket."""
        RecordingClient.write(self.client, frame)
        self.client.stall()

    def told(self) -> list[tuple[str, str]]:
        """What the client has got, and up to where."""
        return [(frame["op"], frame["cursor"]) for frame in self.client.frames]


async def settle() -> None:
    """Until what can happen by itself has happened."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.following.cancel()
    await asyncio.gather(stage.following, return_exceptions=True)
    await stage.hub.close()


async def test_requests_are_served_in_turn(stage: Stage) -> None:
    """One that comes while another is served waits for it, and each is answered once."""
    await stage.arrive("run-1")
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["execution:run-1"], "1"))
    await stage.ask(Subscribe(["*"], "2"), Subscribe(["machine:express"], "3"))
    assert stage.told() == []
    stage.log.may_read.set()
    await settle()
    assert [frame["id"] for frame in stage.client.frames] == ["1", "2", "3"]


async def test_what_waits_for_a_stalled_client_goes_before_what_it_asks_for(stage: Stage) -> None:
    """Else a snapshot's cursor would promise what is still in the outbox."""
    await stage.ask(Subscribe(["*"]))
    stage.client.stall()
    await stage.arrive("run-1", "run-2")
    await stage.ask(Subscribe(["machine:standard"]))
    assert stage.told() == [("snapshot", "e-0")]
    stage.client.go_on()
    await settle()
    assert stage.told()[1:] == [("status", "e-1"), ("status", "e-2"), ("snapshot", "e-2")]


async def test_an_unsubscribe_while_stalled_ends_what_comes_after_it(stage: Stage) -> None:
    """What waited already is told; what comes later is not."""
    await stage.ask(Subscribe(["*"]))
    stage.client.stall()
    await stage.arrive("run-1")
    await stage.ask(Unsubscribe(["*"]))
    stage.client.go_on()
    await settle()
    await stage.arrive("run-2")
    assert stage.told() == [("snapshot", "e-0"), ("status", "e-1")]


async def test_what_one_resume_brought_the_next_leaves_out(stage: Stage) -> None:
    """Two patterns that match the same events bring each of them once."""
    await stage.arrive("run-1", "run-2", "run-3")
    await stage.ask(Subscribe(["machine:standard"], since="e-1"))
    await stage.ask(Subscribe(["*"], since="e-0"))
    assert stage.told() == [
        ("status", "e-2"), ("status", "e-3"), ("resumed", "e-3"),
        ("status", "e-1"), ("resumed", "e-3"),
    ]  # fmt: skip


async def test_a_replay_waits_for_the_socket(stage: Stage) -> None:
    """A client that stalls while it resumes costs one write, not its whole backlog."""
    pad = {"pad": "x" * (MAX_WRITE_BYTES // 5)}
    await stage.arrive(*(f"run-{n}" for n in range(20)), detail=pad)
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["*"], since="e-0"))
    stage.client.stall()
    stage.log.may_read.set()
    await settle()
    assert 0 < len(stage.client.frames) <= 5
    stage.client.go_on()
    await settle()
    assert stage.told() == [*(("status", f"e-{n}") for n in range(1, 21)), ("resumed", "e-20")]


async def test_a_large_snapshot_waits_for_the_socket_and_promises_at_its_end(stage: Stage) -> None:
    """Who loses the connection half-way must get everything again."""
    await stage.arrive(*(f"run-{n}" for n in range(50)), detail={"pad": "x" * 15_000})
    stage.client.write = stage.stalling_write  # type: ignore[method-assign]
    await stage.ask(Subscribe(["*"]))
    for frames in (1, 2, 3):
        assert len(stage.client.frames) == frames
        stage.client.go_on()
        await settle()
    assert [(frame["more"], frame["cursor"]) for frame in stage.client.frames] == [
        (True, "e-0"), (True, "e-0"), (False, "e-50"),
    ]  # fmt: skip


async def test_a_run_in_full_ends_where_its_snapshot_does(stage: Stage) -> None:
    """A step that comes while the log is asked goes out after the snapshot, and only there."""
    await stage.arrive("run-1")
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["execution:run-1"]))
    await stage.arrive("run-1")
    stage.log.may_read.set()
    await settle()
    assert stage.told() == [("snapshot", "e-1"), ("status", "e-2")]
    assert len(stage.client.frames[0]["events"]) == 1


@pytest.mark.parametrize("turns", range(10))
async def test_what_comes_at_any_moment_is_in_the_snapshot_or_after_it(
    stage: Stage, turns: int
) -> None:
    """Not in both and not in neither: a snapshot is what stood at its cursor."""
    stage.hub.request(stage.client, Subscribe(["*"]))
    for _ in range(turns):
        await asyncio.sleep(0)
    await stage.arrive("run-1")
    snapshot, *after = stage.client.frames
    assert snapshot["cursor"] == f"e-{len(snapshot['events'])}"
    assert [frame["cursor"] for frame in after] == ["e-1"][len(snapshot["events"]) :]


async def test_a_heartbeat_while_a_request_is_served_has_no_cursor(stage: Stage) -> None:
    """It would promise what the client is told only when the log has answered."""
    await stage.ask(Subscribe(["*"]))
    await stage.arrive("run-1")
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["execution:run-1"]))
    await stage.arrive("run-2")
    stage.hub.beat([stage.client])
    assert stage.client.frames[-1] == {"op": "heartbeat", "lag_ms": 0}


async def test_the_newest_step_outlives_the_log(stage: Stage) -> None:
    """A run is shown in full by what is kept, and its newest event is."""
    await stage.arrive("run-1", "run-1")
    stage.log.entries.clear()
    await stage.ask(Subscribe(["execution:run-1"]))
    assert [event["execution"]["seq"] for event in stage.client.frames[0]["events"]] == [2]


async def test_a_gap_is_told_from_where_the_hub_is_by_then(stage: Stage) -> None:
    """What came while the log was asked in vain is in the snapshot, and is not told again."""
    await stage.arrive("run-1")
    stage.log.may_read.clear()
    stage.log.fails = Trimmed()
    await stage.ask(Subscribe(["*"], since="e-0"))
    await stage.arrive("run-2")
    stage.log.may_read.set()
    await settle()
    assert stage.told() == [("gap", "e-2"), ("snapshot", "e-2")]
    await stage.arrive("run-3")
    assert stage.told()[2:] == [("status", "e-3")]


async def test_a_cursor_ahead_of_this_process_is_waited_for(stage: Stage) -> None:
    """Another process told it: the log has been there, so it is no gap, and nothing comes twice."""
    await stage.arrive("run-1")
    for place in (2, 3):
        stage.log.entries.append(examples.entry(place, examples.step(place)))  # not heard of yet
    await stage.ask(Subscribe(["*"], since="e-3"))
    assert stage.told() == []
    stage.log.arrive(examples.entry(4, examples.step(4)))
    await settle()
    assert stage.told() == [("status", "e-4"), ("resumed", "e-4")]


async def test_a_cursor_of_a_place_that_no_process_reached_is_a_gap(stage: Stage) -> None:
    """Nobody may wait for what may never come."""
    await stage.arrive("run-1")
    await stage.ask(Subscribe(["*"], since="e-2"))
    assert stage.told() == [("gap", "e-1"), ("snapshot", "e-1")]


async def test_a_new_epoch_ends_the_wait_for_a_place_of_the_old_one(stage: Stage) -> None:
    """The client is told of the gap that it was."""
    await stage.arrive("run-1")
    stage.log.entries.append(examples.entry(2, examples.step(2)))
    await stage.ask(Subscribe(["*"], since="e-2"))
    del stage.log.entries[:]
    stage.log.begin("f")
    await settle()
    assert stage.told() == [("gap", "f-0"), ("snapshot", "f-0")]


async def test_a_new_epoch_interrupts_whatever_is_served(stage: Stage) -> None:
    """What was read of the old one ends; then comes the gap, what stands, and the request."""
    await stage.ask(Subscribe(["machine:express"], "0"))
    await stage.arrive("run-1", "run-2")
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["*"], "1", since="e-0"))
    stage.log.begin("f")
    await settle()
    stage.log.may_read.set()
    await settle()
    assert stage.told() == [
        ("snapshot", "e-0"), ("gap", "f-0"), ("snapshot", "f-0"),
        ("gap", "f-0"), ("snapshot", "f-0"),
    ]  # fmt: skip
    assert [frame.get("id") for frame in stage.client.frames[1:]] == [None, None, "1", "1"]
    await stage.arrive("run-3")
    assert stage.told()[-1] == ("status", "f-1")


async def test_a_gap_is_followed_by_a_snapshot_whatever_epoch_begins(stage: Stage) -> None:
    """Though the cursor is of the epoch that begins: another process has told it already."""
    await stage.arrive("run-1")
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["execution:run-1"], since="f-0"))  # its steps are asked for
    stage.log.begin("f")
    stage.log.may_read.set()
    await settle()
    assert stage.told() == [("gap", "e-1"), ("gap", "f-0"), ("snapshot", "f-0")]


async def test_heartbeats_say_how_long_the_log_is_away(stage: Stage) -> None:
    """And nothing of it while it answers."""
    await stage.ask(Subscribe(["*"]))
    stage.hub.beat([stage.client])
    stage.log.away_s = 1.5
    stage.hub.beat([stage.client])
    assert [frame.get("away_ms") for frame in stage.client.frames[1:]] == [None, 1500]


async def test_a_client_that_the_log_has_overtaken_is_told_of_a_gap(stage: Stage) -> None:
    """It stood aside for so long that the entries after its place are gone."""
    await stage.ask(Subscribe(["*"]))
    stage.log.may_read.clear()
    await stage.arrive("run-1")
    await stage.ask(Subscribe(["execution:run-1"], "2"))
    await stage.arrive("run-2")
    stage.client.stall()
    stage.log.may_read.set()
    await settle()
    stage.log.fails = Trimmed()
    stage.client.go_on()
    await settle()
    assert stage.told() == [
        ("snapshot", "e-0"), ("status", "e-1"), ("snapshot", "e-1"),
        ("gap", "e-2"), ("snapshot", "e-2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code"), [(LogUnavailable("locked"), 1013), (RuntimeError(), INTERNAL_ERROR)]
)
async def test_a_request_that_fails_ends_its_connection(
    stage: Stage, error: Exception, code: int
) -> None:
    """The client comes back with its cursor; it is never left waiting for an answer."""
    await stage.arrive("run-1")
    stage.log.fails = error
    await stage.ask(Subscribe(["*"], since="e-0"))
    assert stage.client.closed_with == code


async def test_a_client_that_is_gone_leaves_nothing_behind(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what it watched, nor the task that served it, nor a complaint."""
    before = asyncio.all_tasks()
    await stage.arrive("run-1")
    await stage.ask(Subscribe(["*"]))
    stage.log.may_read.clear()
    await stage.ask(Subscribe(["execution:run-1"]))
    stage.client.close(1006, "lost")
    stage.hub.dismiss(stage.client)
    await settle()
    assert asyncio.all_tasks() == before
    assert not stage.hub._audiences
    assert not stage.hub.clients
    another = RecordingClient("e")
    stage.hub.admit(another)
    another.close(1006, "lost")
    with caplog.at_level(logging.WARNING):
        stage.hub.request(another, Subscribe(["*"]))
        await settle()
    assert not caplog.records


async def test_a_live_client_that_is_gone_is_offered_nothing(stage: Stage) -> None:
    """What it watched is forgotten with it."""
    await stage.ask(Subscribe(["*"]))
    assert stage.hub._audiences
    stage.hub.dismiss(stage.client)
    assert not stage.hub._audiences


async def test_an_event_of_the_future_has_no_lag(stage: Stage) -> None:
    """The clock of who tells may run before ours."""
    await stage.arrive("run-1")
    assert stage.hub.lag_ms == 0
