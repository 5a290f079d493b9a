"""Both machines in the embedded AWS: every state, every field of the table, every failure.

docs/workflows.md is the source of the table and repeats what these runs visit.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aioboto3
import pytest
import pytest_asyncio
from botocore.config import Config

from infra.local.run import LocalRun
from tests.e2e.cases import CASES, DOCUMENT, MACHINES, Answer, Case

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT_SCALE = 0.02  # of the machine's waits and pauses; its deadline is the clock's
PATIENCE_S = 90


@dataclass(frozen=True)
class Run:
    """What became of a case. `visited` in order; `messages` as they were in the queue."""

    status: str
    output: Any
    error: str | None
    cause: str | None
    visited: list[str]
    messages: list[dict[str, Any]]


def script(answers: list[Answer]) -> dict[str, Answer]:
    """The emulator's form: visit → answer, the last one for all that follow."""
    numbered = {str(visit): answer for visit, answer in enumerate(answers[:-1])}
    return numbered | {f"{len(answers) - 1}-100000": answers[-1]}


def scripts(cases: dict[str, Case]) -> dict[str, Any]:
    """Format: Step Functions Local's mock configuration, which the emulator reads."""
    machines: dict[str, Any] = defaultdict(lambda: {"TestCases": {}})
    responses: dict[str, Any] = {}
    for key, case in cases.items():
        chosen = {state: f"{key}.{state}" for state in case.answers}
        machines[f"statuswire-{case.machine}"]["TestCases"][key] = chosen
        responses |= {f"{key}.{state}": script(case.answers[state]) for state in case.answers}
    return {"StateMachines": machines, "MockedResponses": responses}


async def run_case(states: Any, arn: str, key: str, case: Case) -> dict[str, Any]:
    """The emulator describes Express executions too, as AWS would not."""
    started = await states.start_execution(
        stateMachineArn=f"{arn}#{key}", name=key, input=json.dumps(case.input)
    )
    async with asyncio.timeout(PATIENCE_S):
        while True:
            told: dict[str, Any] = await states.describe_execution(
                executionArn=started["executionArn"]
            )
            if told["status"] != "RUNNING":
                return told
            await asyncio.sleep(0.2)


async def visited_states(states: Any, arn: str) -> list[str]:
    """Names of the states that an execution entered, in order."""
    names: list[str] = []
    async for page in states.get_paginator("get_execution_history").paginate(executionArn=arn):
        names += [
            event["stateEnteredEventDetails"]["name"]
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]
    return names


async def drain(sqs: Any, url: str) -> dict[str, list[dict[str, Any]]]:
    """All that is in the queue, by the execution that it tells of."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    while True:
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            return found
        for message in answer["Messages"]:
            body = json.loads(message["Body"])
            if isinstance(body, dict) and body.get("execution"):
                found[body["execution"]["arn"]].append(body)
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(embedded_aws: LocalRun) -> AsyncIterator[dict[str, Run]]:
    """All cases, run side by side."""
    outputs = embedded_aws.stack.outputs
    arns = {machine: outputs[f"{machine.capitalize()}MachineArn"] for machine in MACHINES}
    configure = embedded_aws.emulator.configure
    await configure(
        **{
            "stepfunctions._sfn_mock_config": scripts(CASES),
            "stepfunctions._SFN_WAIT_SCALE": WAIT_SCALE,
        }
    )
    session, settings = aioboto3.Session(), embedded_aws.client_settings
    config = Config(max_pool_connections=len(CASES))
    try:
        async with (
            session.client("stepfunctions", config=config, **settings) as states,
            session.client("sqs", **settings) as sqs,
        ):
            ends = await asyncio.gather(
                *(run_case(states, arns[case.machine], key, case) for key, case in CASES.items())
            )
            messages = await drain(sqs, outputs["StatusQueueUrl"])
            found = {}
            for key, end in zip(CASES, ends, strict=True):
                arn = end["executionArn"]
                found[key] = Run(
                    status=end["status"],
                    output=json.loads(end.get("output") or "null"),
                    error=end.get("error"),
                    cause=end.get("cause"),
                    visited=await visited_states(states, arn),
                    messages=messages[arn],
                )
            yield found
    finally:
        await configure(
            **{"stepfunctions._sfn_mock_config": {}, "stepfunctions._SFN_WAIT_SCALE": 1}
        )


@pytest.mark.parametrize("key", CASES)
async def test_a_run_ends_as_it_must_and_tells_it(runs: dict[str, Run], key: str) -> None:
    """Its end, its reason, and each of its steps once, numbered with holes where one was lost."""
    case, run = CASES[key], runs[key]
    assert (run.status, run.error) == ("FAILED" if case.error else "SUCCEEDED", case.error)
    told = tuple(message["status"] for message in run.messages)
    assert told == case.told, run.cause
    numbers = [message["execution"]["seq"] for message in run.messages]
    assert numbers == [n for n in range(1, len(told) + len(case.lost) + 1) if n not in case.lost]
    if case.error:
        assert case.cause in str(run.cause)
    else:
        assert run.output["changed"] is case.changed
        assert run.output["input"] == case.input
    if told:
        last = run.messages[-1]
        reason = {"error": run.error, "cause": run.cause} if case.error else None
        assert (last["terminal"], last["reason"]) == (True, reason)
        assert not any(message["terminal"] for message in run.messages[:-1])


def possible(definition: dict[str, Any]) -> set[str]:
    """States that a machine can reach, rows for the other machine left out."""
    reached, open_ends = set[str](), [definition["StartAt"]]
    while open_ends:
        name = open_ends.pop()
        if name in reached:
            continue
        reached.add(name)
        state = definition["States"][name]
        ways = [state, *state.get("Choices", ()), *state.get("Catch", ())]
        open_ends += [
            way[key]
            for way in ways
            if "'express' = 'standard'" not in way.get("Condition", "")
            for key in ("Next", "Default")
            if key in way
        ]
    return reached


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def definitions(embedded_aws: LocalRun) -> dict[str, dict[str, Any]]:
    """The two definitions as they are deployed."""
    found = {}
    async with aioboto3.Session().client("stepfunctions", **embedded_aws.client_settings) as states:
        for machine in MACHINES:
            arn = embedded_aws.stack.outputs[f"{machine.capitalize()}MachineArn"]
            told = await states.describe_state_machine(stateMachineArn=arn)
            found[machine] = json.loads(told["definition"])
    return found


@pytest.mark.parametrize("machine", MACHINES)
async def test_every_state_is_visited(
    runs: dict[str, Run], definitions: dict[str, dict[str, Any]], machine: str
) -> None:
    """From the histories of the executions: what a machine can reach, some run has reached."""
    visited = {
        name for key, run in runs.items() if CASES[key].machine == machine for name in run.visited
    }
    assert visited == possible(definitions[machine])


async def test_the_document_tells_the_coverage(
    runs: dict[str, Run], definitions: dict[str, dict[str, Any]]
) -> None:
    """The table of states, and how many of these runs visit each."""
    lines = []
    for name in definitions["standard"]["States"]:
        counts = [
            str(sum(name in run.visited for key, run in runs.items() if CASES[key].machine == m))
            if name in possible(definitions[m])
            else "–"
            for m in MACHINES
        ]
        lines.append(f"| `{name}` | {' | '.join(counts)} |")
    table = "\n".join(lines)
    found = re.search(r"\| State \|.*\n\|[-| ]+\n((?:\|.*\n)+)", DOCUMENT.read_text())
    assert found is not None
    assert found[1].strip() == table, f"docs/workflows.md should say:\n{table}"


def cost_usd(machine: str, transitions: int, messages: int) -> float:
    """List price of a million runs. An Express run of these takes no more than a second."""
    sqs = messages * 3 * 0.50
    if machine == "standard":
        return transitions * 25.0 + sqs
    return 1.00 + 16.67 * 64 / 1024 + sqs


async def test_the_document_tells_what_a_run_takes(runs: dict[str, Run]) -> None:
    """State transitions, messages and their price, for each run that it lists."""
    rows = re.findall(r"^\| (.+?) \| `(\w+-[\w-]+)` \|(.*)\|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) >= 5
    expected, found = [], []
    for label, key, told in rows:
        run = runs[key]
        transitions, messages = len(run.visited), len(run.messages)
        price = cost_usd(CASES[key].machine, transitions, messages)
        expected.append(f"| {label} | `{key}` | {transitions} | {messages} | {price:.2f} |")
        found.append(f"| {label} | `{key}` |{told}|")
    table = "\n".join(expected)
    assert "\n".join(found) == table, f"docs/workflows.md should say:\n{table}"
