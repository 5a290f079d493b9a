"""The reconciler: what it asks, when it keeps still, and what it outlives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.overdue import EXPRESS_S
from consumer.edges import reconcile
from consumer.edges.executions import Executions
from consumer.edges.fleet import Fleet
from consumer.edges.reconcile import Learned, Reconciler
from consumer.edges.sqlite_log import SqliteLog
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate
from consumer.ports import EpochEnded, LogUnavailable, SourceUnavailable, Trimmed
from tests.core import examples
from tests.edges.test_fleet import TAG, FakeEc2, change, id_of
from tests.edges.test_sqlite_log import make, now_ms

QUIET_S = 60.0
STOPPED = datetime(2026, 1, 1, 0, 0, 30, 250_000, tzinfo=UTC)


class FakeStates:
    """Executions by ARN: what is described of them, or raised."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any] | Exception] = {}
        self.asked: list[str] = []

    async def describe_execution(self, **asked: str) -> dict[str, Any]:
        arn = asked["executionArn"]
        self.asked.append(arn)
        answer = self.answers.get(arn, refusal("ExecutionDoesNotExist"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "Describe")


def express() -> Event:
    body = examples.step_body()
    body["execution"]["machine"] = "express"
    return examples.decode(body)


class Scene:
    """A real log and hub, a fake AWS, and a clock that is put forward."""

    def __init__(self, log: SqliteLog, sweep_s: float = 0.02) -> None:
        self.log = log
        self.counts = Counts()
        self.now_s = 1000.0
        self.now_ms = now_ms()
        self.drained: bool | Exception = True
        self.asked_queues = 0
        self.ec2, self.states = FakeEc2(), FakeStates()
        ec2, states = self.ec2, self.states
        clock: Any = {"now_ms": lambda: self.now_ms, "clock": lambda: self.now_s}
        self.hub = Hub(log, now_ms)
        self.gate = Gate(lambda: 0)
        self.learned = Learned(log, self.gate, self.counts)
        given: Any = (ec2, states)
        self.fleet = Fleet(given[0], TAG, self.counts, **clock)
        self.reconciler = Reconciler(
            self.learned,
            self.hub,
            self.fleet,
            Executions(given[1], QUIET_S, **clock),
            is_drained=self.is_drained,
            sweep_s=sweep_s,
        )

    async def is_drained(self) -> bool:
        self.asked_queues += 1
        if isinstance(self.drained, Exception):
            raise self.drained
        return self.drained

    async def entries(self) -> list[Entry]:
        return await self.log.read(0, 10**9)

    async def learned_of(self) -> list[tuple[str | None, str]]:
        return [
            (entry.event.instance_id, entry.event.status)
            for entry in await self.entries()
            if entry.event.source == "reconcile"
        ]

    async def silence(self, *heard: Event, for_s: float = QUIET_S) -> None:
        """The log takes these, the reconciler hears them, and then time passes."""
        await self.log.append(heard)
        await until(lambda: self.reconciler._place == self.log.head)
        self.now_s += for_s


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110  # in another task
            await asyncio.sleep(0.005)


async def looks(scene: Scene) -> None:
    """Until it has looked several times after all that happened so far."""
    calls = len(scene.ec2.calls)  # a sweep's interval is longer than a look's
    await until(lambda: len(scene.ec2.calls) >= calls + 3)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "BACKLOG_S", "DESCRIBE_GAP_S", "RETRY_S"):
        monkeypatch.setattr(reconcile, name, 0.005)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    log = make(tmp_path / "log.db")
    await log.open()
    scene = Scene(log)
    await scene.hub.load()
    task = asyncio.create_task(scene.reconciler.run())
    yield scene
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    await log.close()
    assert isinstance(ended, asyncio.CancelledError), ended


async def test_the_fleet_is_there_from_the_start_and_costs_nothing_unchanged(scene: Scene) -> None:
    """Each instance with the tag once, however often EC2 is asked."""
    scene.ec2.put(1, "stopped", statuswire="managed")
    scene.ec2.put(2, "running")
    await until(lambda: scene.log.head == 1)
    scene.now_ms += 5000
    await until(lambda: scene.counts["reconciled", "confirmation"] > 1)
    assert await scene.learned_of() == [(id_of(1), "stopped")]


async def test_a_state_that_ec2_changed_and_nobody_told_is_found(scene: Scene) -> None:
    """By the next sweep."""
    scene.ec2.put(1, "stopped", statuswire="managed")
    await until(lambda: scene.log.head == 1)
    scene.now_ms += 1000
    scene.ec2.put(1, "running", statuswire="managed")
    await until(lambda: scene.log.head == 2)
    assert await scene.learned_of() == [(id_of(1), "stopped"), (id_of(1), "running")]


async def test_an_instance_that_ec2_forgot_is_terminated(scene: Scene) -> None:
    """Not at the first look, which may be too early for a new one, nor during a backlog."""
    scene.drained = False
    await scene.log.append([change(1)])
    await looks(scene)
    assert await scene.learned_of() == []
    scene.drained = True
    scene.now_ms += 5000
    await until(lambda: scene.log.head == 2)
    assert await scene.learned_of() == [(id_of(1), "terminated")]
    await looks(scene)
    asked = scene.ec2.calls.count([id_of(1)])
    await looks(scene)
    assert (scene.log.head, scene.ec2.calls.count([id_of(1)])) == (2, asked)


async def test_two_states_within_a_second_are_a_reason_to_ask(scene: Scene) -> None:
    """Not of its neighbours, and in a later second."""
    scene.drained = False
    await scene.log.append([change(1, "pending"), change(2)])
    other = change(1)
    await scene.log.append([examples.decode(as_body(other, id="another"))])
    before = as_body(other, id="before", status="pending", time="2026-01-01T00:00:59.000Z")
    await scene.log.append([examples.decode(before)])
    await looks(scene)
    later = as_body(change(2, "stopped"), id="later", time="2026-01-01T00:01:01.000Z")
    await scene.log.append([examples.decode(later)])
    assert [id_of(1)] not in scene.ec2.calls
    scene.now_ms += 3000
    await until(lambda: [id_of(1)] in scene.ec2.calls)
    assert [id_of(2)] not in scene.ec2.calls


def as_body(event: Event, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(event)
    return body | changes


async def test_a_silent_execution_is_asked_about_and_its_ending_told(scene: Scene) -> None:
    """With Step Functions' own time and reason."""
    event = examples.step(status="WAITING")
    scene.states.answers[examples.ARN] = {
        "status": "FAILED", "stopDate": STOPPED, "error": "E", "cause": "c", "redriveCount": 1,
    }  # fmt: skip
    await scene.silence(event, for_s=QUIET_S - 1)
    await looks(scene)
    assert (scene.states.asked, scene.asked_queues) == ([], 0)
    scene.now_s += 1
    await until(lambda: scene.log.head == 2)
    end = (await scene.entries())[-1].event
    assert (end.source, end.status, end.terminal) == ("reconcile", "FAILED", True)
    assert (end.time, end.reason) == ("2026-01-01T00:00:30.250Z", {"error": "E", "cause": "c"})
    assert end.execution is not None
    assert end.execution.redrive == 1
    scene.now_s += 10_000
    await looks(scene)
    assert scene.states.asked == [examples.ARN]


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
async def test_an_execution_that_goes_on_is_asked_about_ever_more_seldom(
    scene: Scene, status: str
) -> None:
    """And nothing is told of it."""
    scene.states.answers[examples.ARN] = {"status": status}
    await scene.silence(examples.step(status="WAITING"))
    await until(lambda: len(scene.states.asked) == 1)
    scene.now_s += QUIET_S
    await looks(scene)
    assert len(scene.states.asked) == 1
    scene.now_s += QUIET_S
    await until(lambda: len(scene.states.asked) == 2)
    await looks(scene)
    assert scene.log.head == 1
    assert not scene.counts["reconcile_errors", "look"]


async def test_an_execution_that_is_forgotten_is_over(scene: Scene) -> None:
    """Inferred, so that it gives way to anyone who knows better."""
    await scene.silence(examples.step(status="WAITING"))
    await until(lambda: scene.log.head == 2)
    end = (await scene.entries())[-1].event
    assert (end.status, end.detail) == ("ABORTED", {"inferred": True})


async def test_an_express_run_without_an_ending_timed_out_once(scene: Scene) -> None:
    """After its bound, without a question; and an ending told later is the newest."""
    await scene.silence(express(), for_s=EXPRESS_S - 1)
    await looks(scene)
    assert scene.log.head == 1
    scene.now_s += 1
    await until(lambda: scene.log.head == 2)
    end = (await scene.entries())[-1].event
    assert (end.status, end.terminal, end.detail) == ("TIMED_OUT", True, {"inferred": True})
    assert scene.states.asked == []
    told = examples.step_body(id="told", status="SUCCEEDED", terminal=True)
    told["execution"] |= {"machine": "express", "seq": 3}
    assert [str(v) for v in await scene.log.append([examples.decode(told)])] == ["appended"]


@pytest.mark.parametrize("backlog", [False, SourceUnavailable("AccessDenied")])
async def test_while_the_queues_have_a_backlog_nobody_is_silent(
    scene: Scene, backlog: bool | Exception
) -> None:
    """Nor while they do not say: what would break the silence may be in them."""
    scene.drained = backlog
    await scene.silence(express(), examples.step(run="standard"), for_s=EXPRESS_S)
    await looks(scene)
    assert (scene.log.head, scene.states.asked) == (2, [])
    scene.drained = True
    await until(lambda: scene.log.head == 4)


async def test_one_that_cannot_be_described_does_not_keep_the_others_waiting(
    scene: Scene,
) -> None:
    """Its turn comes again, later."""
    first, second = examples.step(run="a"), examples.step(run="b")
    scene.states.answers[str(first.execution and first.execution.arn)] = refusal("InvalidArn")
    await scene.silence(first)
    await scene.silence(second)
    await until(lambda: scene.log.head == 3)
    assert (await scene.entries())[-1].key == second.key
    assert scene.counts["reconcile_errors", "look"] >= 1


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded"])
async def test_a_sweep_that_fails_is_repeated(scene: Scene, code: str) -> None:
    """The reconciler goes on, and so does all else."""
    scene.ec2.fails = [refusal(code)] * 3
    scene.ec2.put(1, statuswire="managed")
    await until(lambda: scene.log.head == 1)
    assert scene.counts["reconcile_errors", "sweep"] >= 1


async def test_trouble_that_lasts_is_logged_now_and_then(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A permission that is missing must not fill the disk."""
    for _ in range(10):
        scene.learned.complain("sweep", SourceUnavailable("AccessDenied"))
        scene.learned.complain("sweep", SourceUnavailable("Throttled"))
    assert len(caplog.records) == 2


async def test_while_the_log_refuses_nothing_learned_is_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits, behind what the queues bring, even what would be told once only."""
    refusals = 3
    append = scene.log.append

    async def sometimes(batch: Any) -> Any:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise LogUnavailable("disk full")
        return await append(batch)

    monkeypatch.setattr(scene.log, "append", sometimes)
    scene.gate.refusals = 1
    learning = asyncio.create_task(scene.learned.append([examples.step()]))
    await asyncio.sleep(0.05)
    assert refusals == 3
    scene.gate.refusals = 0
    await learning
    assert scene.log.head == 1


async def test_what_is_learned_reaches_the_log_some_at_a_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, and what the queues bring is not kept waiting for long."""
    sizes: list[int] = []
    append = scene.log.append

    async def spy(batch: Any) -> Any:
        sizes.append(len(batch))
        return await append(batch)

    monkeypatch.setattr(scene.log, "append", spy)
    monkeypatch.setattr(reconcile, "MAX_APPENDED", 2)
    await scene.learned.append([examples.step(number) for number in range(1, 6)])
    assert (sizes, scene.log.head) == ([2, 2, 1], 5)


async def test_a_backlog_that_came_up_is_seen_in_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some questions the queues are asked again."""
    monkeypatch.setattr(reconcile, "MAX_ASKED", 2)
    scene.drained = False
    await scene.silence(*(examples.step(run=run) for run in "abc"))

    async def once() -> bool:
        was, scene.drained = bool(scene.drained), False
        return was

    scene.reconciler._is_drained = once
    scene.drained = True
    await until(lambda: len(scene.states.asked) == 2)
    await looks(scene)
    assert len(scene.states.asked) == 2


@pytest.mark.parametrize("trouble", [LogUnavailable("disk full"), Trimmed("too far behind")])
async def test_a_log_that_fails_is_listened_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """From what stands in it by then, and no earlier."""
    log = make(tmp_path / "failing.db")
    await log.open()
    await log.append([examples.step()])
    scene = Scene(log)
    await scene.hub.load()
    troubles, changes, asked = [trouble], log.changes, []

    def failing(*, after: int) -> Any:
        asked.append(after)
        if troubles:
            raise troubles.pop()
        return changes(after=after)

    monkeypatch.setattr(log, "changes", failing)
    task = asyncio.create_task(scene.reconciler.run())
    await until(lambda: len(asked) == 2)
    await scene.silence(examples.step(2))
    await until(lambda: scene.states.asked == [examples.ARN])
    assert asked == [1, 1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.close()


async def test_what_settles_a_doubt_is_told(tmp_path: Path) -> None:
    """Without waiting for a sweep."""
    log = make(tmp_path / "doubts.db")
    await log.open()
    await log.append([change(1), change(2)])
    scene = Scene(log, sweep_s=1e6)
    scene.drained = False
    await scene.hub.load()
    task = asyncio.create_task(scene.reconciler.run())
    await until(lambda: scene.ec2.calls == [["all"]])
    scene.ec2.put(1, "stopped", statuswire="managed")
    scene.fleet.doubt(change(1))
    scene.now_ms += 1000
    await until(lambda: log.head == 3)
    assert await scene.learned_of() == [(id_of(1), "stopped")]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.close()


async def test_who_has_not_heard_all_that_the_log_has_asks_nobody(scene: Scene) -> None:
    """The ending may be in what is still to be heard."""
    await scene.silence(examples.step())
    scene.reconciler._place -= 1
    await looks(scene)
    assert scene.states.asked == []
    scene.reconciler._place += 1
    await until(lambda: scene.states.asked == [examples.ARN])


@pytest.mark.parametrize(
    ("drained", "answer", "pauses"),
    [
        (True, {"status": "RUNNING"}, ["gap", "gap"]),
        (True, refusal("ThrottlingException"), ["retry", "retry"]),
        (False, {"status": "RUNNING"}, ["backlog", "backlog"]),
    ],
)
async def test_questions_about_executions_keep_their_distance(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, drained: bool, answer: Any, pauses: list[str]
) -> None:
    """The REST API shares the allowance; an Express run costs no question."""
    names = {7.0: "gap", 8.0: "backlog", 9.0: "retry"}
    slept: list[str] = []
    sleep = asyncio.sleep

    async def note(delay_s: float) -> None:
        slept.extend([names[delay_s]] if delay_s in names else [])
        await sleep(0.001)

    scene.drained = False
    runs = [examples.step(run=run) for run in "ab"]
    for run in runs:
        assert run.execution is not None
        scene.states.answers[run.execution.arn] = answer
    monkeypatch.setattr(asyncio, "sleep", note)
    for name, delay_s in (("DESCRIBE_GAP_S", 7.0), ("BACKLOG_S", 8.0), ("RETRY_S", 9.0)):
        monkeypatch.setattr(reconcile, name, delay_s)
    await scene.silence(*runs, express(), for_s=0)
    scene.drained = drained
    scene.now_s += EXPRESS_S
    await until(lambda: len(slept) >= 2)
    await looks(scene)
    assert slept[:2] == pauses
    assert set(slept) == set(pauses)
    if drained:
        assert len(slept) == 2


async def test_a_sweep_that_fails_is_repeated_soon_and_then_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits a sweep's interval for a fleet; each success begins anew."""
    log = make(tmp_path / "sweeps.db")
    await log.open()
    scene = Scene(log, sweep_s=1e6)
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(delay_s: float) -> None:
        if delay_s >= 1.0:
            slept.append(delay_s)
            if len(slept) == 4:
                scene.ec2.fails = [refusal("RequestLimitExceeded")]
        await sleep(0.001)

    monkeypatch.setattr(reconcile, "RETRY_S", 1.0)
    monkeypatch.setattr(asyncio, "sleep", note)
    scene.ec2.fails = [refusal("RequestLimitExceeded")] * 3
    task = asyncio.create_task(scene.reconciler._sweep())
    await until(lambda: len(slept) >= 6)
    assert slept[:6] == [1.0, 2.0, 4.0, 1e6, 1.0, 1e6]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.close()


async def test_what_stands_in_the_log_at_the_start_is_heard(tmp_path: Path) -> None:
    """A run whose ending was lost while nobody listened is asked about; an instance is known."""
    log = make(tmp_path / "old.db")
    await log.open()
    await log.append([examples.step(status="WAITING"), change(1)])
    scene = Scene(log)
    await scene.hub.load()
    task = asyncio.create_task(scene.reconciler.run())
    scene.ec2.fails = [refusal("RequestLimitExceeded")] * 1000
    await until(lambda: scene.reconciler._place == 2)
    assert await scene.fleet.shown([change(1)]) == [change(1)]
    scene.now_s += QUIET_S
    await until(lambda: scene.states.asked == [examples.ARN])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.close()


async def test_a_new_epoch_has_the_fleet_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log has lost, the next sweep would tell minutes later."""
    log = make(tmp_path / "epochs.db")
    await log.open()
    scene = Scene(log, sweep_s=1e6)
    await scene.hub.load()
    changes, ends = log.changes, asyncio.Event()

    async def until_it_ends(*, after: int) -> AsyncIterator[Sequence[Entry]]:
        if not ends.is_set():
            await ends.wait()
            raise EpochEnded("a failover")
        async for entries in changes(after=after):
            yield entries

    monkeypatch.setattr(log, "changes", until_it_ends)
    task = asyncio.create_task(scene.reconciler.run())
    await until(lambda: len(scene.ec2.calls) == 1)
    monkeypatch.setattr(log, "epoch", "another")
    ends.set()
    await until(lambda: len(scene.ec2.calls) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.close()
