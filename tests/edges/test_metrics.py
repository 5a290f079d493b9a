"""Metrics under the names that people expect, on a port of their own."""

import asyncio
import urllib.request

from consumer.edges.metrics import COUNTERS, Metrics, MetricsServer
from tests.core import examples
from tests.edges.conftest import Service, read


async def test_what_is_counted_is_exported(service: Service) -> None:
    """Counters with their labels, gauges as of now."""
    client = await service.connect("?watch=*")
    await read(client)
    await service.log.append([examples.step(1)])
    while (await read(client))["op"] != "status":
        pass
    service.counts["messages_received", "status"] += 3
    server = MetricsServer(
        Metrics(service.counts, service.hub, lambda: service.ready), "127.0.0.1", 0
    )
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:  # noqa: ASYNC210
            text = answer.read().decode()
    finally:
        server.close()
    assert 'statuswire_messages_received_total{queue="status"} 3.0' in text
    for line in (
        "statuswire_clients 1.0",
        "statuswire_keys 1.0",
        "statuswire_log_place 1.0",
        "statuswire_ready 1.0",
        "statuswire_connections_opened_total 1.0",
    ):
        assert line in text.splitlines()
    tasks = next(line for line in text.splitlines() if line.startswith("statuswire_tasks "))
    assert float(tasks.split()[1]) >= len(asyncio.all_tasks()) > 0
    assert all(f"# TYPE statuswire_{name}_total counter" in text for name in COUNTERS)
