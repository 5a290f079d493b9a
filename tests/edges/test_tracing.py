"""Traces: sampled messages followed to the socket, and nothing at all where none are asked for."""

import asyncio
import json
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiobotocore.credentials import AioCredentials as Credentials
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode
from websockets.asyncio.client import connect

from consumer.app import App
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.edges import tracing
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.sqs import Clients, SqsQueue
from consumer.edges.sqs_calls import SqsCalls
from consumer.edges.tracing import Traces
from consumer.hub import Hub
from consumer.pipeline import MAX_RELEASES
from consumer.ports import LogUnavailable, Message
from consumer.settings import BadSettings
from tests.contract.trace import RecordingClient
from tests.core import examples
from tests.edges.conftest import consumer_on, read, until
from tests.edges.test_pipeline import FakeSource, pipe
from tests.edges.test_sqlite_log import log, now_ms
from tests.edges.test_sqs import client, endpoint, url

__all__ = ["client", "endpoint", "log", "url"]

TRACE_ID: Final = "5759e988bd862e3fe1be46a994272793"
PARENT_ID: Final = "53995c3f42cd8ad8"
HEADER: Final = f"Root=1-{TRACE_ID[:8]}-{TRACE_ID[8:]};Parent={PARENT_ID};Sampled=1"
SOURCE: Final = Path(tracing.__file__).read_text()
DOCUMENT: Final = (Path(__file__).parents[2] / "docs/tracing.md").read_text()
QUEUE: Final = "StatusQueue.fifo"


def step(seq: int, **changes: Any) -> dict[str, Any]:
    execution = examples.step_body()["execution"] | {"seq": seq}
    return examples.step_body(id=f"e{seq}", execution=execution, **changes)


def message(seq: int = 1, trace: str | None = HEADER, **changes: Any) -> Message:
    body = json.dumps(step(seq, **changes))
    return Message(f"m{seq}", body, f"handle-{seq}", "g", 1, trace=trace)


class FailingLog:
    """A log that refuses as often as it is told to, before the real one is asked."""

    def __init__(self, log: SqliteLog, refusals: int) -> None:
        self._log = log
        self.refusals = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        if self.refusals:
            self.refusals -= 1
            raise LogUnavailable("disk full")
        return await self._log.append(batch)


class Flow:
    """A queue's pipeline, a real log and hub, a viewer, and what was exported of it all."""

    def __init__(self, log: Any, *answers: list[Message], traces: Traces | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        # Of the two who may say no, X-Ray is left alone to do so.
        provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = traces or Traces(provider, {"fake": QUEUE})
        self.queue = FakeSource(*answers)
        self.source = self.traces.source(self.queue)
        self.log = self.traces.log(log, lambda entry: self.hub.watchers(entry))  # noqa: PLW0108
        self.hub = Hub(self.log, now_ms)

    async def run(self, watch: Sequence[str] = ("*",)) -> None:
        """Until the queue is empty, and the hub has sent all that the log has."""
        viewer = RecordingClient(self.log.epoch)
        viewer.session.begin(watch, 0)
        self.hub.admit(viewer)
        stop = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self.hub.follow())
            tasks.create_task(pipe(self.source, self.log).run(stop))
            await self.queue.emptied.wait()
            await until(lambda: self.hub.place == self.log.head)
            stop.set()
            following.cancel()

    def spans(self, name: str) -> list[ReadableSpan]:
        return [each for each in self.exporter.get_finished_spans() if each.name == name]

    def span(self, name: str) -> ReadableSpan:
        (only,) = self.spans(name)
        return only

    @property
    def process(self) -> ReadableSpan:
        return self.span(f"process {QUEUE}")


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, span and parent."""
    assert span.context is not None
    assert span.parent is not None
    return (
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
        f"{span.parent.span_id:016x}",
    )


async def test_a_sampled_message_is_followed_to_the_socket(log: SqliteLog) -> None:
    """In the trace of its sender: receipt, commit and push."""
    flow = Flow(log, [message()])
    await flow.run()
    process, append, push = flow.process, flow.span("append"), flow.span("push")
    trace_id, process_id, parent_id = ids(process)
    assert (trace_id, parent_id) == (TRACE_ID, PARENT_ID)
    assert process.kind is SpanKind.CONSUMER
    for child in (append, push):
        assert (ids(child)[0], ids(child)[2]) == (TRACE_ID, process_id)
    assert len(flow.exporter.get_finished_spans()) == 3


async def test_spans_carry_what_helps_and_no_bodies(log: SqliteLog) -> None:
    """Queue, message, execution, status, verdict and watchers; nothing else."""
    flow = Flow(log, [message()])
    await flow.run()
    assert dict(flow.process.attributes or {}) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": QUEUE,
        "messaging.message.id": "m1",
        "statuswire.execution.arn": examples.ARN,
        "statuswire.status": "CHECKING",
        "statuswire.verdict": "appended",
    }
    assert dict(flow.span("append").attributes or {}) == {}
    assert dict(flow.span("push").attributes or {}) == {"statuswire.watchers": 1}


def test_what_spans_carry_is_documented() -> None:
    """Attributes of ours, and every kind of error."""
    said = re.findall(r'"(statuswire\.[a-z.]+)"|(?:_fail\([\w.]+, |error=)"(\w+)"', SOURCE)
    assert len(said) > 6
    for attribute, error in said:
        assert f"`{attribute or error}`" in DOCUMENT


async def test_what_nobody_watches_is_pushed_to_nobody(log: SqliteLog) -> None:
    """And the trace says so."""
    flow = Flow(log, [message()])
    await flow.run(watch=["execution:another"])
    assert flow.span("push").attributes == {"statuswire.watchers": 0}


async def test_spans_follow_one_another(log: SqliteLog) -> None:
    """Appended after the receipt; pushed from the commit on."""
    flow = Flow(log, [message()])
    await flow.run()
    process, append, push = flow.process, flow.span("append"), flow.span("push")
    times = [process.start_time, append.start_time, append.end_time, push.start_time, push.end_time]
    assert times == sorted(times, key=lambda ns: ns or 0)
    assert append.end_time == push.start_time


async def test_a_push_ends_once_its_frame_is_written(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the hub is about to."""
    flow = Flow(log, [message()])
    ended: list[list[ReadableSpan]] = []
    monkeypatch.setattr(RecordingClient, "write", lambda *_: ended.append(flow.spans("push")))
    await flow.run()
    assert ended == [[]]
    assert flow.span("push")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        HEADER.replace("Sampled=1", "Sampled=0"),
        HEADER.replace("Sampled=1", "Sampled=?"),
        HEADER.replace(";Sampled=1", ""),
        HEADER.replace(PARENT_ID, "53995c3f42cd8ad"),
        HEADER.replace(f"Parent={PARENT_ID};", ""),
        HEADER.replace("Root=1-", "Root=2-"),
        HEADER.replace(TRACE_ID[8:], "z" * 24),
        f"Root=1-{'0' * 8}-{'0' * 24};Parent={PARENT_ID};Sampled=1",
        HEADER + ";nonsense",
    ],
)
async def test_what_is_not_sampled_leaves_nothing(log: SqliteLog, header: str | None) -> None:
    """Nor does what nobody can read."""
    flow = Flow(log, [message(trace=header)])
    await flow.run()
    assert flow.exporter.get_finished_spans() == ()
    assert log.head == 1


async def test_a_header_may_say_more_than_we_read(log: SqliteLog) -> None:
    """AWS adds fields of its own, such as Lineage."""
    flow = Flow(log, [message(trace=f"{HEADER};Lineage=1:a87bd80c:0")])
    await flow.run()
    assert ids(flow.process)[0] == TRACE_ID


@given(st.one_of(st.text(), st.from_regex(r"Root=1-.{8}-.{24};Parent=.{16};Sampled=1")))
def test_no_header_does_harm(header: str) -> None:
    """Whoever may send to the queue may write anything there."""
    traces = Traces(TracerProvider(shutdown_on_exit=False), {"fake": QUEUE})
    traces.received("fake", message(trace=header))
    traces.settled([message()])


async def test_a_malformed_message_ends_its_trace_with_an_error(log: SqliteLog) -> None:
    """Also the one that is no longer released; and its fields are not told."""
    bad = Message("m", '{"id": "secret"}', "handle", "g", MAX_RELEASES + 1, trace=HEADER)
    flow = Flow(log, [bad])
    await flow.run()
    (span,) = flow.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "malformed"
    assert "secret" not in span.to_json()


async def test_refusals_of_the_log_are_told(log: SqliteLog) -> None:
    """One span for each attempt."""
    flow = Flow(FailingLog(log, refusals=1), [message()])
    await flow.run()
    first, second = flow.spans("append")
    assert first.attributes == {"error.type": "log_unavailable"}
    assert (first.status.status_code, second.status.status_code) == (
        StatusCode.ERROR,
        StatusCode.UNSET,
    )
    assert flow.process.status.status_code is StatusCode.UNSET


async def test_what_is_given_back_at_the_end_says_so(log: SqliteLog) -> None:
    """Another consumer goes on with it, in the same trace."""
    flow = Flow(FailingLog(log, refusals=99), [message()])
    stop = asyncio.Event()
    task = asyncio.create_task(pipe(flow.source, flow.log).run(stop))
    await until(lambda: flow.spans("append"))
    stop.set()
    await task
    assert flow.queue.story[-1] == "release m1"
    assert (flow.process.attributes or {})["error.type"] == "stopped"


async def test_a_repeat_is_not_pushed_again(log: SqliteLog) -> None:
    """Its trace says that the log has it already."""
    await Flow(log, [message(trace=None)]).run()
    flow = Flow(log, [message()])
    await flow.hub.load()
    await flow.run()
    assert (flow.process.attributes or {})["statuswire.verdict"] == "repeat"
    assert len(flow.spans("append")) == 1
    assert flow.spans("push") == []


async def test_two_copies_in_one_answer_are_told_apart(log: SqliteLog) -> None:
    """The first one is appended and pushed; both are followed to their end."""
    second = msgspec.structs.replace(message(), id="m2", receipt_handle="handle-2")
    flow = Flow(log, [message(), second])
    await flow.run()
    told = {
        (span.attributes or {})["messaging.message.id"]: dict(span.attributes or {})
        for span in flow.spans(f"process {QUEUE}")
    }
    assert told["m1"]["statuswire.verdict"] == "appended"
    assert "statuswire.verdict" not in told["m2"]
    assert len(flow.spans("append")) == len(flow.spans("push")) == 1


async def test_what_is_not_for_our_viewers_has_no_verdict(log: SqliteLog) -> None:
    """It is acknowledged, and never reaches the log."""
    body = json.dumps(examples.step_body(id="c"))  # which the pipeline's fake leaves out
    flow = Flow(log, [Message("m", body, "handle", "g", 1, trace=HEADER)])
    await flow.run()
    assert "statuswire.verdict" not in (flow.process.attributes or {})
    assert len(flow.exporter.get_finished_spans()) == 1


async def test_a_push_is_not_laid_to_a_repeat(log: SqliteLog) -> None:
    """The hub, when it is behind, sends what the first copy brought."""
    flow = Flow(log)
    flow.traces.received("fake", message())
    event = msgspec.json.decode(message().body, type=Event)
    await log.append([event])
    assert await flow.log.append([event]) == [Verdict.REPEAT]
    await flow.run()
    assert flow.spans("push") == []


async def append_before_the_hub_follows(flow: Flow, *messages: Message) -> None:
    for each in messages:
        flow.traces.received("fake", each)
        await flow.log.append([msgspec.json.decode(each.body, type=Event)])
        flow.traces.settled([each])


async def test_a_push_begins_with_the_commit_when_the_hub_is_behind(log: SqliteLog) -> None:
    """The wait is part of what the viewer waited for."""
    flow = Flow(log)
    await append_before_the_hub_follows(flow, message())
    await flow.run()
    assert flow.span("push").start_time == flow.span("append").end_time
    assert ids(flow.span("push"))[2] == ids(flow.process)[1]


async def test_what_waits_for_the_hub_is_bounded(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest lose their push span, not the others."""
    monkeypatch.setattr(tracing, "MAX_UNSENT", 2)
    flow = Flow(log)
    await append_before_the_hub_follows(flow, *(message(seq) for seq in (1, 2, 3)))
    await flow.run()
    parents = [ids(span)[2] for span in flow.spans("push")]
    assert parents == [ids(span)[1] for span in flow.spans(f"process {QUEUE}")[1:]]


async def test_nothing_is_kept_of_what_is_done(log: SqliteLog) -> None:
    """A daemon runs for months."""
    flow = Flow(log, [message(seq) for seq in range(1, 8)], [message(1), message(8)])
    await flow.run()
    kept = ("_in_hand", "_by_identity", "_unsent", "_pushing")
    assert [len(getattr(flow.traces, name)) for name in kept] == [0, 0, 0, 0]


def test_without_traces_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    """Whoever wants none pays nothing."""
    program = f"""if True:
        import sys
        from consumer import app, daemon
        from consumer.settings import Settings
        queue = "http://127.0.0.1/queue"
        made = app.App(Settings(
            queue_url=queue + ".fifo", service_queue_url=queue, log="sqlite:{tmp_path}/log.db"
        ))
        assert made.path_log is made.status_log
        print([name for name in sys.modules if name.startswith("opentelemetry")])
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


async def test_a_header_comes_with_its_message(client: Any, url: str) -> None:
    """SQS tells of it only when asked."""
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": HEADER}}
    for each, attributes in (("traced", header), ("not", {})):
        await client.send_message(
            QueueUrl=url,
            MessageBody=each,
            MessageGroupId=each,
            MessageDeduplicationId=each,
            MessageSystemAttributes=attributes,
        )
    calls = SqsCalls(client, Credentials("testing", "testing"), None)
    source = SqsQueue("status", url, Clients(calls, calls, client), poll_wait_s=0, visibility_s=60)
    assert {m.body: m.trace for m in await source.receive()} == {"traced": HEADER, "not": None}


class Collector:
    """Takes spans over OTLP/HTTP."""

    def __init__(self) -> None:
        self.resources: list[dict[str, str]] = []
        self.spans: dict[str, Any] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def take(self, request: Any) -> None:
        for each in request.resource_spans:
            told = {one.key: one.value.string_value for one in each.resource.attributes}
            self.resources.append(told)
            self.spans |= {span.name: span for scope in each.scope_spans for span in scope.spans}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    yield collector
    collector.close()


@pytest.fixture
async def app(
    client: Any, url: str, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> App:
    """The whole consumer on moto's AWS, with traces."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return await consumer_on(client, url, tmp_path, traces="otlp")


async def see_one_status(port: int, client: Any, url: str) -> None:
    """Watch, send a message with a trace header to the queue, and wait for its status."""
    async with connect(f"ws://127.0.0.1:{port}/v1/status?watch=*") as viewer:
        assert [(await read(viewer))["op"] for _ in range(2)] == ["welcome", "snapshot"]
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        await client.send_message(
            QueueUrl=url,
            MessageBody=json.dumps(step(1, time=time)),
            MessageGroupId="g",
            MessageDeduplicationId="1",
            MessageSystemAttributes={
                "AWSTraceHeader": {"DataType": "String", "StringValue": HEADER}
            },
        )
        while (told := await read(viewer))["op"] != "status":
            pass
        assert told["event"]["id"] == "e1"


async def test_one_trace_from_the_queue_to_the_socket(
    collector: Collector, app: App, client: Any, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the whole consumer, to a collector that has all of it once the consumer has ended."""
    caplog.set_level(logging.INFO)
    running = asyncio.create_task(app.run())
    await until(lambda: running.done() or len(app.pipelines) == 2)
    (listening,) = [each for each in caplog.records if each.message == "listening"]
    await see_one_status(listening.__dict__["port"], client, url)
    app.stop.set()
    await running
    queue = url.rpartition("/")[2]
    assert collector.spans.keys() == {f"process {queue}", "append", "push"}
    assert {span.trace_id.hex() for span in collector.spans.values()} == {TRACE_ID}
    process = collector.spans.pop(f"process {queue}")
    assert process.parent_span_id.hex() == PARENT_ID
    assert {span.parent_span_id for span in collector.spans.values()} == {process.span_id}
    (watchers,) = collector.spans["push"].attributes
    assert watchers.value.int_value == 1


@pytest.mark.parametrize(("chosen", "told"), [(None, "statuswire"), ("blue", "blue")])
async def test_spans_name_their_service(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, chosen: str | None, told: str
) -> None:
    """Ours, unless OpenTelemetry's own variable says another."""
    if chosen:
        monkeypatch.setenv("OTEL_SERVICE_NAME", chosen)
    traces = tracing.exporting({"fake": QUEUE})
    traces.received("fake", message())
    traces.settled([message()])
    await traces.close()
    (resource,) = collector.resources
    assert resource["service.name"] == told


async def test_a_collector_that_never_answers_holds_up_nobody(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages go on, more than wait for it; and the end comes although it has not answered."""
    monkeypatch.setattr(tracing, "FLUSH_S", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    with socket.create_server(("127.0.0.1", 0)) as collector:
        address = f"http://127.0.0.1:{collector.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        traces = tracing.exporting({"fake": QUEUE})
        flow = Flow(log, [message(seq) for seq in range(1, 31)], traces=traces)
        await flow.run()
        async with asyncio.timeout(10):
            await traces.close()
        asked, _ = collector.accept()
        with asked:
            assert asked.recv(4) == b"POST"
    assert log.head == 30
    assert flow.queue.story.count("delete m30") == 1


async def test_variables_of_no_use_are_the_operators_to_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are told as bad settings."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(BadSettings, match=r"OTEL_\*: max_queue_size"):
        tracing.exporting({})
