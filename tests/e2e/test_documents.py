"""The contract's documents against the product as it runs: real frames, real events."""

import aioboto3
import pytest

from tests.contract.test_documents import FROM_SERVER, STATUS_EVENT
from tests.e2e.conftest import Product

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_viewer_reads_what_the_documents_say(product: Product) -> None:
    """The machines' words, EC2's, and Step Functions' of a run that was aborted."""
    viewer = await product.watch("watch=*")
    body = {"instance_id": product.stopped[1]}
    await product.post("/express-instance", body)
    _, started = await product.post("/standard-instance", body)
    async with aioboto3.Session().client("stepfunctions", **product.run.client_settings) as states:
        await states.stop_execution(executionArn=started["executionArn"])
    await viewer.until(
        lambda events: (
            {event["source"] for event in events} == {"workflow", "states", "ec2"}
            and any(event["status"] == "ABORTED" for event in events)
        )
    )
    for frame in viewer.frames:
        FROM_SERVER[frame["op"]].validate(frame)
    for event in viewer.events:
        STATUS_EVENT.validate(event)
