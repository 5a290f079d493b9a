"""OpenTelemetry: what sampled messages went through, as spans in the trace of the REST call.

`TracedSource` and `TracedLog` stand between the pipeline, the hub and what they use; without them
nothing is traced, and nothing of OpenTelemetry is imported. docs/tracing.md lists the spans.

SQS keeps a sender's X-Ray header with the message as the attribute AWSTraceHeader (X-Ray developer
guide, "Amazon SQS and AWS X-Ray").
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.aws.aws_xray_propagator import TRACE_HEADER_KEY
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
)

from consumer import __version__
from consumer.around_log import AroundLog
from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.ports import LogUnavailable, Message, Source, StatusLog
from consumer.settings import BadSettings

MAX_UNSENT: Final = 4_096  # committed and not yet sent: × ~1 kB ≈ 4 MB; the oldest go
# What a shutdown adds at most: 22 s for polls and 5 s for clients leave 3 s of a supervisor's 30.
FLUSH_S: Final = 2.0
_XRAY: Final = AwsXRayPropagator()


class _Traced(Struct):
    """A sampled message in hand."""

    span: Span
    context: Context
    identity: str
    committed_ns: int | None = None
    is_judged: bool = False


class Traces:
    """Makes the spans. One event loop; a thread of the SDK's sends them, and drops what is over
    its bound, so that a collector which does not answer holds up nobody.
    """

    def __init__(self, provider: TracerProvider, destinations: Mapping[str, str]) -> None:
        """`destinations`: our names of the queues, and those that SQS knows."""
        self._provider = provider
        self._destinations = destinations
        self._tracer = provider.get_tracer("statuswire", __version__)
        self._in_hand: dict[str, _Traced] = {}  # by receipt handle
        self._by_identity: dict[str, _Traced] = {}  # of two copies in hand, the first
        self._unsent: dict[str, tuple[Context, int]] = {}  # and when it was committed
        self._pushing: list[Span] = []

    def source(self, source: Source) -> "TracedSource":
        """The source, for the pipeline."""
        return TracedSource(source, self)

    def log(self, log: StatusLog, watchers: Callable[[Entry], int]) -> "TracedLog":
        """The log, for the pipeline and the hub. `watchers`: how many clients watch an entry."""
        return TracedLog(log, self, watchers)

    def received(self, queue: str, message: Message) -> None:
        """A message came; from here on it is followed, if it is sampled."""
        parent = _parent(message.trace)
        if parent is None:
            return
        destination = self._destinations[queue]
        # Names by the semantic conventions for messaging, and for SQS ("process {destination}").
        span = self._tracer.start_span(
            f"process {destination}",
            parent,
            SpanKind.CONSUMER,
            {
                "messaging.system": "aws_sqs",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": destination,
                "messaging.message.id": message.id,
            },
        )
        try:
            event = events.decode(message.body)
        except events.Malformed:
            _fail(span, "malformed")
            span.end()
            return
        span.set_attribute("statuswire.status", event.status)
        if event.execution is not None:
            span.set_attribute("statuswire.execution.arn", event.execution.arn)
        traced = _Traced(span, set_span_in_context(span), event.identity)
        self._in_hand[message.receipt_handle] = traced
        self._by_identity.setdefault(traced.identity, traced)

    def appended(self, begun_ns: int, batch: Sequence[Event], verdicts: Sequence[Verdict]) -> None:
        """The log committed a batch that it was given then."""
        now_ns = time.time_ns()
        for event, verdict in zip(batch, verdicts, strict=True):
            traced = self._by_identity.get(event.identity)
            if traced is None or traced.is_judged:
                continue
            traced.is_judged = True
            was_sent = traced.committed_ns is not None
            committed_ns = traced.committed_ns or now_ns
            self._span("append", traced.context, begun_ns).end(committed_ns)
            traced.span.set_attribute("statuswire.verdict", verdict.value)
            if verdict.is_sent and not was_sent:
                self._unsent[traced.identity] = (traced.context, committed_ns)
                if len(self._unsent) > MAX_UNSENT:
                    del self._unsent[next(iter(self._unsent))]

    def refused(self, begun_ns: int, batch: Iterable[Event]) -> None:
        """The log took nothing of a batch that it was given then."""
        for event in batch:
            if traced := self._by_identity.get(event.identity):
                span = self._span("append", traced.context, begun_ns)
                _fail(span, "log_unavailable")
                span.end()

    def pushing(self, entries: Iterable[Entry], watchers: Callable[[Entry], int]) -> None:
        """The hub is about to write the frames of these entries."""
        if not (self._unsent or self._by_identity):
            return
        now_ns = time.time_ns()
        for entry in entries:
            identity = entry.event.identity
            if unsent := self._unsent.pop(identity, None):
                context, since_ns = unsent
            elif (traced := self._by_identity.get(identity)) and not traced.is_judged:
                # The log's feed is told of a commit just before those who wait for it.
                traced.committed_ns = since_ns = now_ns
                context = traced.context
            else:
                continue
            span = self._span("push", context, since_ns)
            span.set_attribute("statuswire.watchers", watchers(entry))
            self._pushing.append(span)

    def pushed(self) -> None:
        """The frames were written."""
        for span in self._pushing:
            span.end()
        self._pushing.clear()

    def settled(self, messages: Iterable[Message], *, error: str | None = None) -> None:
        """We are done with these messages: acknowledged, or given back for a reason."""
        for message in messages:
            traced = self._in_hand.pop(message.receipt_handle, None)
            if traced is None:
                continue
            if self._by_identity.get(traced.identity) is traced:
                del self._by_identity[traced.identity]
            if error is not None:
                _fail(traced.span, error)
            traced.span.end()

    async def close(self) -> None:
        """Send what is left, for `FLUSH_S` at most: the rest is lost with the process."""
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        await asyncio.to_thread(flushing.join, FLUSH_S)

    def _span(self, name: str, context: Context, start_ns: int) -> Span:
        return self._tracer.start_span(name, context, start_time=start_ns)


class TracedSource:
    """A `Source` whose messages are followed from their receipt to their acknowledgement."""

    def __init__(self, source: Source, traces: Traces) -> None:
        self.name = source.name
        self._source = source
        self._traces = traces

    async def receive(self) -> list[Message]:
        """See `Source.receive`."""
        received = await self._source.receive()
        for message in received:
            if message.trace is not None:
                self._traces.received(self.name, message)
        return received

    async def delete(self, messages: Sequence[Message]) -> None:
        """See `Source.delete`."""
        await self._source.delete(messages)
        self._traces.settled(messages)

    async def release(self, messages: Sequence[Message]) -> None:
        """See `Source.release`."""
        self._traces.settled(messages, error="stopped")
        await self._source.release(messages)


class TracedLog(AroundLog):
    """A `StatusLog` that tells when it took something, and when that was sent."""

    def __init__(self, log: StatusLog, traces: Traces, watchers: Callable[[Entry], int]) -> None:
        super().__init__(log)
        self._traces = traces
        self._watchers = watchers

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        """See `StatusLog.append`."""
        begun_ns = time.time_ns()
        try:
            verdicts = await self._log.append(batch)
        except LogUnavailable:
            self._traces.refused(begun_ns, batch)
            raise
        self._traces.appended(begun_ns, batch, verdicts)
        return verdicts

    async def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        """See `StatusLog.changes`. Who follows has written what it got when it asks for more."""
        async for entries in self._log.changes(after):
            self._traces.pushing(entries, self._watchers)
            yield entries
            self._traces.pushed()


def exporting(destinations: Mapping[str, str]) -> Traces:
    """Traces that go to a collector, over OTLP/HTTP; OpenTelemetry's own variables say where.

    Raises `BadSettings` where those are of no use.
    """
    # It also warns of each attempt that it repeats by itself.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    ours = Resource.create({"service.name": "statuswire", "service.version": __version__})
    try:
        provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        raise BadSettings([f"OTEL_*: {error}"]) from error
    return Traces(provider, destinations)


def _parent(header: str | None) -> Context | None:
    """The sender's span, if it is sampled; None for headers that are malformed or name no span."""
    if header is None:
        return None
    context = _XRAY.extract({TRACE_HEADER_KEY: header})
    return context if get_current_span(context).get_span_context().trace_flags.sampled else None


def _fail(span: Span, error: str) -> None:
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", error)
