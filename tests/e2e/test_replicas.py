"""Several consumers behind one port, on a real Redis, as `make demo REPLICAS=3` has them."""

import os
import signal

import aioboto3
import pytest

from infra.local.instances import read_states
from tests.e2e.conftest import Product
from tests.e2e.test_path import ended, new_name, statuses

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_all_killed_in_the_middle_of_a_run(replicas: Product) -> None:
    """Others take their places by themselves; whoever resumes has seen every status once."""
    instance, name = replicas.stopped[0], new_name()
    async with aioboto3.Session().client("ec2", **replicas.run.client_settings) as ec2:
        state = (await read_states(ec2))[instance]  # other tests may have started it
    viewer = await replicas.watch(f"watch=execution:{name}")
    status, _ = await replicas.post("/standard-instance", {"instance_id": instance, "name": name})
    assert status == 202
    await viewer.until(lambda events: "WAITING" in statuses(events, of=name))
    killed = replicas.consumer.worker_pids
    assert sorted(killed) == [0, 1, 2]
    records = replicas.consumer.records()
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    async for record in records:
        if record["message"] == "listening":
            break

    resumed = await replicas.watch(f"watch=execution:{name}&since={viewer.cursor}")
    await resumed.until(ended(name))
    assert not any(frame["op"] == "gap" for frame in resumed.frames)
    assert statuses(viewer.events + resumed.events, of=name) == [
        "WAITING",
        "CHECKING",
        {"stopped": "STARTING", "running": "STOPPING"}[state],
        "VERIFYING",
        "SUCCEEDED",
    ]
    assert set(replicas.consumer.worker_pids.values()).isdisjoint(killed.values())
