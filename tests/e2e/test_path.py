"""From a request over HTTP to statuses on a WebSocket, through the deployed template."""

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioboto3
import pytest

from infra.local.places import Ports
from tests.core.examples import execution_change, step_body
from tests.e2e.conftest import Frame, Product, Viewer

pytestmark = pytest.mark.asyncio(loop_scope="session")

HARD = {"note": 'it\'s "quoted" \u2028 and \\ slashed'}


def statuses(events: list[Frame], *, of: str | None = None) -> list[str]:
    """Statuses of publish steps of one execution (by name), or of instances."""
    return [
        event["status"]
        for event in events
        if (event["execution"] is None and of is None)
        or (event["source"] == "workflow" and event["execution"]["name"] == of)
    ]


def ended(name: str) -> Any:
    """Whether the execution's last publish step has been seen; the service may tell before it."""
    return lambda events: any(
        event["source"] == "workflow" and event["terminal"] and event["execution"]["name"] == name
        for event in events
    )


def new_name() -> str:
    return f"run-{secrets.token_hex(4)}"


@asynccontextmanager
async def beginner(product: Product, **settings: str) -> AsyncIterator[Product]:
    """Another consumer, with a log of its own, instead of the one that runs."""
    await product.consumer.stop()
    consumer = product.run.consumer(
        f"beginner-{secrets.token_hex(4)}", ports=Ports().settle(), settings=settings
    )
    await consumer.start()
    yield Product(product.run, consumer, product.http)
    await consumer.stop()  # or it would take what the next test's consumer waits for


async def both_states(viewer: Viewer, states: list[str]) -> None:
    """The instance's passing and its lasting state, each once and in their order."""
    await viewer.until(lambda events: statuses(events)[-1:] == states[-1:])
    assert statuses(viewer.events) == states


async def test_an_express_run_starts_a_stopped_instance(product: Product) -> None:
    """The answer is the workflow's output; the instance's viewer sees each status once."""
    instance, name = product.stopped[0], new_name()
    viewer = await product.watch(f"watch=instance:{instance}")
    status, answer = await product.post(
        "/express-instance", {"instance_id": instance, "name": name, **HARD}
    )
    assert status == 200
    assert (answer["previous_state"], answer["changed"]) == ("stopped", True)
    assert answer["input"]["note"] == HARD["note"]
    await viewer.until(ended(name))
    assert statuses(viewer.events, of=name) == ["CHECKING", "STARTING", "SUCCEEDED"]
    await both_states(viewer, ["pending", "running"])
    ids = [event["id"] for event in viewer.events]
    assert len(ids) == len(set(ids))

    status, answer = await product.post(
        "/express-instance", {"instance_id": instance, "action": "start"}
    )
    assert (status, answer["changed"]) == (200, False)


async def test_a_standard_run_stops_a_running_instance(product: Product) -> None:
    """It waits, checks, stops, follows; the API tells the same afterwards."""
    instance, name = product.running[0], new_name()
    viewer = await product.watch(f"watch=execution:{name}&watch=instance:{instance}")
    status, answer = await product.post(
        "/standard-instance", {"instance_id": instance, "action": "stop", "name": name, **HARD}
    )
    assert status == 202
    assert answer["executionArn"].endswith(f":{name}")
    await viewer.until(ended(name))
    steps = ["WAITING", "CHECKING", "STOPPING", "VERIFYING", "SUCCEEDED"]
    assert statuses(viewer.events, of=name) == steps
    await both_states(viewer, ["stopping", "stopped"])
    seqs = [e["execution"]["seq"] for e in viewer.events if e["source"] == "workflow"]
    assert seqs == list(range(1, len(steps) + 1))

    _, execution = await product.get(f"/executions/{name}")
    while execution["status"] == "RUNNING":
        _, execution = await product.get(f"/executions/{name}")
    assert execution["status"] == "SUCCEEDED"
    assert execution["input"]["note"] == HARD["note"]
    assert execution["output"]["state"] == "stopped"


@pytest.mark.parametrize("route", ["/express-instance", "/standard-instance"])
async def test_a_run_for_no_instance_fails_with_its_reason(product: Product, route: str) -> None:
    """FAILED reaches the viewer, with what was wrong."""
    name = new_name()
    viewer = await product.watch(f"watch=execution:{name}")
    status, answer = await product.post(route, {"instance_id": "i-0123456789abcdef0", "name": name})
    if route == "/express-instance":
        assert (status, answer["error"]) == (404, "instance_not_found")
    events = await viewer.until(ended(name))
    failed = next(event for event in events if event["terminal"])
    assert failed["status"] == "FAILED"
    assert failed["reason"]["error"] == "InstanceNotFound"
    assert "i-0123456789abcdef0" in failed["reason"]["cause"]


async def test_what_cannot_be_done_is_refused(product: Product) -> None:
    """A conflict, a bad body, a missing field, another kind of content, an unknown execution."""
    ec2_settings = product.run.client_settings
    async with aioboto3.Session().client("ec2", **ec2_settings) as ec2:
        answer = await ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
        gone = answer["Instances"][0]["InstanceId"]
        await ec2.terminate_instances(InstanceIds=[gone])
    status, answer = await product.post("/express-instance", {"instance_id": gone})
    assert status in (404, 409), answer
    status, answer = await product.post("/express-instance", {"instance_id": "i-nonsense"})
    assert (status, answer["error"]) == (400, "invalid_input")
    status, answer = await product.post("/standard-instance", {"action": "stop"})
    assert (status, answer["error"]) == (400, "invalid_input")
    status, _ = await product.post(
        "/standard-instance", {"instance_id": gone}, headers={"Content-Type": "text/plain"}
    )
    assert status == 415
    status, answer = await product.get("/executions/no-such-run")
    assert (status, answer["error"]) == (404, "execution_not_found")
    status, answer = await product.get("/executions/no%20name")
    assert status == 400


def good(queue: str, number: int) -> str:
    """A message for one queue or the other, about an execution of its own."""
    if queue == "StatusQueueUrl":
        body = step_body(id=f"good-{number}", instance_id=f"i-{number:08x}")
        name = f"good-{number}"
        body["execution"] |= {"name": name, "arn": body["execution"]["arn"] + name}
        return json.dumps(body | {"time": "2099-01-01T00:00:00Z"})
    change = execution_change(name=f"good-{number}", startDate=4_070_908_800_000)
    change["detail"]["executionArn"] += f"-{number}"
    return json.dumps(change | {"id": f"good-{number}"})


POISON = [
    "null",
    "not json",
    "[]",
    "{}",
    '{"v": 1}',
    '{"detail-type": "Other"}',
    "\u2028",
    json.dumps(step_body(status="DANCING")),
    json.dumps(step_body(v=2)),
    json.dumps(step_body(detail={"long": "x" * 20_000})),
]


@pytest.mark.parametrize(
    ("queue", "groups"), [("StatusQueueUrl", 100), ("StatusQueueUrl", 1), ("ServiceQueueUrl", 1)]
)
async def test_poison_reaches_the_dead_letters_and_nothing_else_does(
    product: Product, queue: str, groups: int
) -> None:
    """Ten malformed messages among a hundred good ones, in a message group each or all in one."""
    dead = queue.replace("Queue", "DeadLetterQueue")
    outputs = product.run.stack.outputs
    viewer = await product.watch("watch=*")
    async with aioboto3.Session().client("sqs", **product.run.client_settings) as sqs:
        for number in range(100):
            bodies = [good(queue, number)]
            if number % 10 == 5:
                bodies.insert(number // 10 % 2, POISON[number // 10])
            for place, body in enumerate(bodies):
                fifo = {
                    "MessageGroupId": f"group-{number % groups}",
                    "MessageDeduplicationId": f"{groups}-{number}-{place}",
                }
                await sqs.send_message(
                    QueueUrl=outputs[queue],
                    MessageBody=body,
                    **(fifo if queue == "StatusQueueUrl" else {}),
                )
        wanted = {f"good-{number}" for number in range(100)}
        await viewer.until(lambda events: wanted <= {event["id"] for event in events})
        ids = [event["id"] for event in viewer.events if event["id"] in wanted]
        assert sorted(ids) == sorted(wanted), "each once"

        bodies = []
        async with asyncio.timeout(60):
            while len(bodies) < len(POISON):
                answer = await sqs.receive_message(
                    QueueUrl=outputs[dead], MaxNumberOfMessages=10, WaitTimeSeconds=1
                )
                for message in answer.get("Messages", ()):
                    bodies.append(message["Body"])
                    await sqs.delete_message(
                        QueueUrl=outputs[dead], ReceiptHandle=message["ReceiptHandle"]
                    )
        assert sorted(bodies) == sorted(POISON)
        left = await sqs.get_queue_attributes(QueueUrl=outputs[queue], AttributeNames=["All"])
        assert left["Attributes"]["ApproximateNumberOfMessages"] == "0"


async def test_killed_in_the_middle_of_a_run(product: Product) -> None:
    """After `kill -9` and a restart, a client that resumes has seen every status once."""
    instance, name = product.running[1], new_name()
    viewer = await product.watch(f"watch=execution:{name}")
    status, _ = await product.post("/standard-instance", {"instance_id": instance, "name": name})
    assert status == 202
    await viewer.until(lambda events: "WAITING" in statuses(events, of=name))
    await product.consumer.kill()
    await asyncio.sleep(2.5)  # the run goes on; its steps wait in the queue
    await product.consumer.start()

    resumed = await product.watch(f"watch=execution:{name}&since={viewer.cursor}")
    # What the killed consumer had received is visible again after the visibility timeout; until
    # then it holds its message group up, and the service's own word may be there first.
    await resumed.until(lambda events: "SUCCEEDED" in statuses(events, of=name))
    assert not any(frame["op"] == "gap" for frame in resumed.frames)
    assert statuses(viewer.events + resumed.events, of=name) == [
        "WAITING", "CHECKING", "STOPPING", "VERIFYING", "SUCCEEDED",
    ]  # fmt: skip
    cursors = [
        int(frame["cursor"].rpartition("-")[2])
        for frame in itertools.chain(viewer.frames, resumed.frames)
        if frame["op"] == "status"
    ]
    assert cursors == sorted(set(cursors))


async def test_a_run_that_cannot_speak_for_itself_is_told_of_by_the_service(
    product: Product,
) -> None:
    """Aborted while it waits: EventBridge tells the end, to its instance's viewer too."""
    instance, name = product.running[1], new_name()
    viewer = await product.watch(f"watch=instance:{instance}")
    _, answer = await product.post("/standard-instance", {"instance_id": instance, "name": name})
    await viewer.until(lambda events: "WAITING" in statuses(events, of=name))
    async with aioboto3.Session().client("stepfunctions", **product.run.client_settings) as states:
        await states.stop_execution(executionArn=answer["executionArn"])
    events = await viewer.until(
        lambda events: any(e["execution"] and e["terminal"] for e in events)
    )
    end = events[-1]
    assert (end["status"], end["source"], end["terminal"]) == ("ABORTED", "states", True)


async def test_a_new_viewer_sees_what_an_older_one_saw(product: Product) -> None:
    """A snapshot of one execution tells the whole of it, in order."""
    name = new_name()
    viewer = await product.watch(f"watch=execution:{name}")
    await product.post("/express-instance", {"instance_id": product.stopped[1], "name": name})
    await viewer.until(ended(name))
    late_comer = await product.watch(f"watch=execution:{name}")
    snapshot = late_comer.frames[-1]
    assert [event["status"] for event in snapshot["events"]] == statuses(viewer.events, of=name)


async def test_a_new_viewer_sees_the_fleet_before_anything_happens(product: Product) -> None:
    """The instances with the tag, by name; and not the one without."""
    ec2_settings = product.run.client_settings
    async with aioboto3.Session().client("ec2", **ec2_settings) as ec2:
        answer = await ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
        untagged = answer["Instances"][0]["InstanceId"]
        await ec2.stop_instances(InstanceIds=[untagged])
    async with beginner(product) as other:
        fleet = await other.fleet()
    assert {fleet[one]["detail"]["name"] for one in product.run.instances} == {
        f"web-{number}" for number in range(1, len(product.run.instances) + 1)
    }
    assert untagged not in fleet


async def test_an_ending_that_was_lost_is_asked_for(product: Product) -> None:
    """Neither the last step nor EventBridge's word arrived; Step Functions knows how it ended."""
    name = new_name()
    viewer = await product.watch(f"watch=execution:{name}")
    _, answer = await product.post(
        "/standard-instance", {"instance_id": "i-0123456789abcdef0", "name": name}
    )
    await viewer.until(ended(name))

    step = step_body(id=f"again-{name}", status="WAITING", time="2099-01-01T00:00:00Z")
    step["execution"] |= {"arn": answer["executionArn"], "name": name}
    async with (
        beginner(product, STATUSWIRE_QUIET_S="1") as other,
        aioboto3.Session().client("sqs", **product.run.client_settings) as sqs,
    ):
        viewer = await other.watch(f"watch=execution:{name}")
        await sqs.send_message(
            QueueUrl=product.run.stack.outputs["StatusQueueUrl"],
            MessageBody=json.dumps(step),
            MessageGroupId=name,
            MessageDeduplicationId=name,
        )
        *_, end = await viewer.until(lambda events: any(event["terminal"] for event in events))
    assert (end["source"], end["status"]) == ("reconcile", "FAILED")
    assert end["reason"]["error"] == "InstanceNotFound"
    assert end["instance_id"] == step["instance_id"]


async def test_sigterm_drains(product: Product) -> None:
    """Clients are told when to come back, and the process exits with 0."""
    viewer = await product.watch("watch=*")
    await product.consumer.stop()
    while (frame := await viewer.read())["op"] != "draining":
        pass
    assert frame["retry_ms"] > 0
    await viewer.socket.wait_closed()
    assert viewer.socket.close_code == 1012
    assert product.consumer.exit_code == 0
