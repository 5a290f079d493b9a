"""Prometheus metrics, on a port of their own."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer.hub import Hub
from consumer.pipeline import Counts

# Name without `statuswire_` and `_total` → what it counts, and by what.
COUNTERS: Final = {
    "messages_received": ("Messages received from SQS, redeliveries included", "queue"),
    "messages_malformed": ("Messages left for the dead-letter queue", "queue"),
    "messages_deleted": ("Messages acknowledged after the log's commit", "queue"),
    "poll_errors": ("Polls that SQS did not answer as it should", "queue"),
    "log_errors": ("Times that the log refused", "operation"),
    "events": ("Events by what became of them", "verdict"),
    "events_not_shown": (
        "Events of instances without the tag, or of which EC2 did not answer whether they have it",
        "reason",
    ),
    "reconciled": ("What the reconciler learned, by what became of it", "verdict"),
    "reconcile_errors": ("Questions of the reconciler that were not answered", "about"),
    "connections_opened": ("WebSocket connections accepted", ""),
    "connections_closed": ("Connections closed, by our code, `client` or `none`", "code"),
    "messages_from_clients": ("Messages that clients sent", ""),
    "bytes_sent": ("Bytes of frames written to clients", ""),
}


class Metrics(Collector):
    """Reads the counts that the product keeps; nothing is measured here."""

    def __init__(self, counts: Counts, hub: Hub, is_ready: Callable[[], bool]) -> None:
        self._counts = counts
        self._hub = hub
        self._is_ready = is_ready
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        for name, (text, label) in COUNTERS.items():
            family = CounterMetricFamily(
                f"statuswire_{name}", text, labels=[label] if label else None
            )
            # A copy in one step: the event loop's thread goes on counting meanwhile.
            values = {of: n for (what, of), n in self._counts.copy().items() if what == name}
            for value_of, value in (values or ({} if label else {"": 0})).items():
                family.add_metric([value_of] if label else [], value)
            yield family
        for name, text, value in (
            ("clients", "WebSocket clients connected", len(self._hub.clients)),
            ("keys", "Executions and instances in the view", len(self._hub.view)),
            ("log_place", "Place of the newest event sent", self._hub.place),
            ("lag_ms", "Age of the newest event when it was sent", self._hub.lag_ms or 0),
            ("tasks", "asyncio tasks that have not ended", len(asyncio.all_tasks(self._loop))),
            ("ready", "1 when ready to serve", int(self._is_ready())),
        ):
            yield GaugeMetricFamily(f"statuswire_{name}", text, value=value)


class MetricsServer:
    """`/metrics` on its own port, in a thread of its own."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        registry = prometheus_client.CollectorRegistry()
        registry.register(metrics)
        prometheus_client.ProcessCollector(registry=registry)
        prometheus_client.PlatformCollector(registry=registry)
        self._server, self._thread = prometheus_client.start_http_server(
            port, addr=host, registry=registry
        )
        self.port = self._server.server_port

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
