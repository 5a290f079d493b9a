"""Metrics under the names that people expect."""

import ast
import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import consumer
from consumer import __version__
from consumer.edges.backlog import Backlogs
from consumer.edges.metrics import COUNTERS, QUEUES, Metrics, Observed, registry_of
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.sqs import Backlog
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate, Pipeline
from consumer.readiness import Readiness
from consumer.timings import Timings
from tests.contract.trace import RecordingClient
from tests.edges.test_pipeline import FakeSource, bad, good
from tests.edges.test_sqlite_log import make, now_ms


class FakeQueue(FakeSource):
    """A queue as gauges see it."""

    answered_s = 0.0
    in_hand = 4

    def __init__(self, name: str, *answers: Any) -> None:
        super().__init__(*answers)
        self.name = name

    async def backlog(self) -> Backlog:
        return Backlog(visible=7, delayed=0, in_flight=4)


class Traffic:
    """Two queues' pipelines, a real log and hub, a viewer, and a scrape of it all."""

    def __init__(self, log: SqliteLog, path: Path) -> None:
        self.counts = Counts()
        self.timings = Timings(now_ms, QUEUES)
        self.log = log
        self.hub = Hub(log, now_ms, self.counts, self.timings)
        self.queues: list[Any] = [
            FakeQueue("status", [good("a"), bad("b")], [good("a", 2)]),
            FakeQueue("service"),
        ]
        self.gate = Gate(lambda: 0)
        self.backlogs = Backlogs(self.queues, self.counts, ask_s=0)
        self.pipelines = [self._pipeline(queue) for queue in self.queues]
        observed = Observed(
            hub=self.hub,
            queues=self.queues,
            pipelines=self.pipelines,
            backlogs=self.backlogs,
            readiness=Readiness(self.gate, self.queues, patience_s=9, clock=lambda: 1.0),
            half_open=lambda: 2,
            loop=asyncio.get_running_loop(),
            status_log=log,
            log_path=path,
        )
        self.metrics = Metrics(self.counts, self.timings, observed)
        self.registry = registry_of(self.metrics)

    def _pipeline(self, queue: Any) -> Pipeline:
        return Pipeline(
            queue, self.log, self.counts, self.timings, self.gate, choose=all_of, most_polls=1
        )

    async def flow(self) -> None:
        """Let the queues' messages reach a viewer."""
        viewer = RecordingClient(self.log.epoch)
        viewer.session.begin(["*"], 0)
        self.hub.admit(viewer)
        stop = asyncio.Event()
        self.backlogs.read()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            for_ever = [
                tasks.create_task(each) for each in (self.hub.follow(), self.backlogs.run())
            ]
            for pipeline in self.pipelines:
                tasks.create_task(pipeline.run(stop))
            await self.queues[0].emptied.wait()
            while not viewer.frames or not self.backlogs.read():  # noqa: ASYNC110  # of two
                await asyncio.sleep(0)
            stop.set()
            for task in for_ever:
                task.cancel()

    def read(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"statuswire_{name}", labels)


async def all_of(batch: Any) -> list[Any]:
    return list(batch)


@pytest.fixture
async def traffic(tmp_path: Path) -> AsyncIterator[Traffic]:
    log = make(tmp_path / "log.db")
    await log.open()
    traffic = Traffic(log, tmp_path / "log.db")
    await traffic.hub.load()
    await traffic.flow()
    yield traffic
    await log.close()


async def test_the_path_of_messages_is_exported(traffic: Traffic) -> None:
    """From the poll to the socket, by what became of each."""
    assert traffic.read("messages_received_total", queue="status") == 3
    assert traffic.read("messages_malformed_total", queue="status") == 1
    assert traffic.read("messages_deleted_total", queue="status") == 2
    assert traffic.read("events_total", verdict="appended") == 1
    assert traffic.read("events_total", verdict="repeat") == 1
    assert traffic.read("frames_sent_total") == 1
    assert traffic.read("event_to_log_seconds_count", source="workflow") == 1
    assert traffic.read("event_to_socket_seconds_count", source="workflow") == 1


async def test_the_state_of_things_is_exported(traffic: Traffic) -> None:
    """Gauges are as of the scrape."""
    assert traffic.read("build_info", version=__version__) == 1
    assert traffic.read("ready") == 1
    assert traffic.read("clients") == traffic.read("subscriptions") == 1
    assert traffic.read("half_open") == 2
    assert traffic.read("keys") == traffic.read("log_place") == 1
    assert traffic.read("queue_messages", queue="service", state="visible") == 7
    assert traffic.read("messages_in_flight", queue="status") == 4
    assert traffic.read("polls", queue="status") == 0
    assert (traffic.read("log_size_bytes") or 0) > 4096
    assert (traffic.read("log_free_bytes") or 0) > 0
    traffic.gate.refusals = 1
    assert traffic.read("ready") == 0


async def test_tasks_are_counted_from_the_scrapes_thread(traffic: Traffic) -> None:
    """That is how a leak of tasks shows."""
    before = await asyncio.to_thread(traffic.read, "tasks")
    sleeper = asyncio.create_task(asyncio.sleep(60))
    assert await asyncio.to_thread(traffic.read, "tasks") == (before or 0) + 1
    sleeper.cancel()


async def test_counters_begin_at_nothing(traffic: Traffic) -> None:
    """A first time would not show where there was no series before it."""
    assert traffic.read("poll_errors_total", queue="service", kind="throttled") == 0
    assert traffic.read("connections_closed_total", code="4408") == 0
    assert traffic.read("gaps_total") == 0


async def test_a_label_that_nobody_foresaw_is_exported_too(traffic: Traffic) -> None:
    """What is counted is told, whether or not its value was listed."""
    traffic.counts["connections_closed", "1011"] += 2
    assert traffic.read("connections_closed_total", code="1011") == 2


def test_whatever_the_product_counts_is_exported() -> None:
    """A count that nobody declared would be kept for nobody."""
    counted = {one for file in Path(consumer.__file__).parent.rglob("*.py") for one in counts(file)}
    declared = {(name, max(1, len(counter.labels))) for name, counter in COUNTERS.items()}
    assert ("poll_errors", 2) in counted
    assert counted <= declared
    by_sessions = {("frames_sent", 1), ("events_skipped", 1), ("bytes_sent", 1)}
    assert declared - counted <= by_sessions


def counts(file: Path) -> Iterator[tuple[str, int]]:
    """Each `counts["name", label…]` in a module, with how many labels it has."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("counts"):
            assert isinstance(node.slice, ast.Tuple)
            name, *labels = node.slice.elts
            assert isinstance(name, ast.Constant)
            yield str(name.value), len(labels)
