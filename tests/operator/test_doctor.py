"""The doctor on a whole set-up: nothing found where nothing is wrong, and each planted fault."""

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from consumer.operator.checks import ALL
from consumer.operator.doctor import Report, examine
from consumer.operator.finding import Finding, Level
from consumer.operator.scene import Scene
from tests.operator.doctor_stage import Stage, healthy, policy, put_target, write_pair

PATIENCE_S = 120.0  # the machine may be busy
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
async def stage(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    for name in [name for name in os.environ if name.startswith(("AWS_", "STATUSWIRE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with healthy(moto, tmp_path) as stage:
        yield stage


async def examined(stage: Stage, **options: Any) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stage.environment.items():
            patch.setenv(name, value)
        async with Scene(check_s=PATIENCE_S, **options) as scene:
            return await examine(scene, ALL)


def troubles(report: Report) -> dict[str, Finding]:
    return {each.id: each for each in report.of(Level.WARNING, Level.ERROR)}


async def test_nothing_is_found_where_nothing_is_wrong(stage: Stage) -> None:
    """Everything as the template makes it; receiving is not simulated by moto, so it is called."""
    report = await examined(stage, may_receive=True)
    assert {each.title for each in report.of(Level.WARNING, Level.ERROR)} == set()
    assert [each.id for each in report.of(Level.SKIPPED)] == []
    assert {each.id for each in report.findings} == {check.id for check in ALL}
    assert report.exit_code(strict=True) == 0


async def test_each_of_many_faults_is_found_with_its_fix(stage: Stage) -> None:
    """All planted at once: none hides another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        fixes = await plant(stage, other.getsockname()[1])
        report = await examined(stage)
    found = troubles(report)
    assert found.keys() == fixes.keys()
    for name, fix in fixes.items():
        assert fix in found[name].fix, name
    assert report.exit_code(strict=False) == 1


async def plant(stage: Stage, taken_port: int) -> dict[str, str]:
    """Faults in everything that can be wrong: the check that finds each, and part of its fix."""
    stage.skew_s = -600
    stage.denied = {"DeleteMessageBatch"}
    await stage.set_queue("status", DeduplicationScope="queue", FifoThroughputLimit="perQueue")
    await stage.set_queue("status-dead", MessageRetentionPeriod="60")
    await stage.set_queue("service", RedrivePolicy="", DelaySeconds="30")
    await stage.set_queue("service", KmsMasterKeyId="alias/aws/sqs")
    await stage.set_queue("service", MessageRetentionPeriod="600")
    await stage.set_queue("service", Policy={"Statement": policy("status")})
    await stage.call("events", "disable_rule", Name="demo-executions")
    await put_target(stage, "demo-instances", InputPath="$.detail")
    secret = stage.environment["STATUSWIRE_SIGNING_SECRET"]
    short = json.dumps({"key": "short"})
    await stage.call("secretsmanager", "put_secret_value", SecretId=secret, SecretString=short)
    write_pair(stage.folder, not_after=datetime.now(UTC) + timedelta(days=3))
    stage.log.write_bytes(b"not a database" * 100)
    stage.environment |= {
        "STATUSWIRE_HEARTBEAT_S": "never",
        "STATUSWIRE_PORT": str(taken_port),
        "STATUSWIRE_MAX_CONNECTIONS": "999999999",
        "STATUSWIRE_RETENTION_EVENTS": "999999999999",
        "STATUSWIRE_REST_URL": "http://127.0.0.1:1",
    }
    return {
        "settings": "STATUSWIRE_HEARTBEAT_S",
        "machine.files": "ulimit -n",
        "aws.clock": "timedatectl",
        "permission.sqs:DeleteMessage": "ConsumerPolicyArn",
        "queue.fifo": "DeduplicationScope=messageGroup",
        "queue.redrive": "RedrivePolicy",
        "queue.dead-letters": "MessageRetentionPeriod=1209600",
        "queue.visibility": "DelaySeconds=0",
        "queue.retention": "MessageRetentionPeriod=345600",
        "queue.encryption": "SqsManagedSseEnabled=true",
        "queue.policy": "sam deploy",
        "rule.executions": "aws events enable-rule --name demo-executions",
        "rule.instances": "Take it off",
        "log.room": "STATUSWIRE_RETENTION_EVENTS",
        "log.file": "Move it away",
        "port.http": "STATUSWIRE_PORT",
        "tls.files": "Renew",
        "token.secret": "Rotate the signing key",
        "rest.reach": "STATUSWIRE_REST_URL",
    }


async def test_nothing_is_changed(stage: Stage) -> None:
    """No message loses a receive, and no file appears."""
    url = stage.queues["status"].replace(stage.url, stage.moto)
    await stage.call(
        "sqs",
        "send_message",
        QueueUrl=url,
        MessageBody="{}",
        MessageGroupId="g",
        MessageDeduplicationId="d",
    )
    before = {path.name: path.read_bytes() for path in stage.folder.iterdir()}
    await examined(stage)
    assert {path.name: path.read_bytes() for path in stage.folder.iterdir()} == before
    received = await stage.call(
        "sqs",
        "receive_message",
        QueueUrl=url,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )
    assert received["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "1"


async def test_what_rests_on_a_failed_check_is_skipped(stage: Stage) -> None:
    """With the reason, and not as one more error."""
    stage.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    report = await examined(stage)
    found = troubles(report)
    assert found["endpoint.sqs"].title == "sqs cannot be reached: TCP fails"
    skipped = {each.id: each.title for each in report.of(Level.SKIPPED)}
    assert skipped["queue.found"] == "skipped: it rests on endpoint.sqs"
    assert skipped["aws.clock"] == "skipped: it rests on endpoint.sqs"
    assert "queue.fifo" not in found


@pytest.mark.parametrize(
    ("variable", "check", "title"),
    [
        ("AWS_PROFILE", "aws.region", "the AWS configuration cannot be used"),
        ("AWS_SECRET_ACCESS_KEY", "aws.credentials", "the AWS credentials cannot be used"),
    ],
)
async def test_an_aws_configuration_of_no_use_is_one_error(
    stage: Stage, variable: str, check: str, title: str
) -> None:
    """A profile that is not there, half a key: told once, and the rest is skipped."""
    stage.environment[variable] = "nobody" if variable == "AWS_PROFILE" else ""
    report = await examined(stage)
    assert [(each.id, each.title) for each in report.of(Level.ERROR)] == [(check, title)]


async def test_missing_permissions_of_an_operator_are_no_faults(stage: Stage) -> None:
    """The consumer's own role may not read rules: what needs it is skipped."""
    stage.denied = {"ListRuleNamesByTarget"}
    report = await examined(stage)
    assert troubles(report) == {}
    skipped = {each.id: each.title for each in report.of(Level.SKIPPED)}
    assert "ListRuleNamesByTarget" in skipped["rule.executions"]


async def test_the_command_says_it_to_programs_and_by_its_exit_code(stage: Stage) -> None:
    """One JSON object, in the documented shape; `--strict` counts warnings."""
    await stage.set_queue("status", DeduplicationScope="queue", FifoThroughputLimit="perQueue")
    code, told = await run_doctor(stage, "--json")
    report = json.loads(told)
    assert (code, report["passed"], report["version"]) == (0, True, 1)
    assert report["counts"]["error"] == 0
    (slow,) = [each for each in report["findings"] if each["id"] == "queue.fifo"]
    assert slow.keys() == {"id", "level", "title", "detail", "fix"}
    assert (await run_doctor(stage, "--json", "--strict"))[0] == 1


async def test_the_command_says_it_to_people(stage: Stage) -> None:
    """Without colours where there is no terminal, and each fix in one line."""
    await stage.set_queue("service", RedrivePolicy="")
    code, told = await run_doctor(stage)
    assert code == 1
    assert "\x1b" not in told
    assert "no dead-letter queue  [queue.redrive]" in told
    assert re.search(r"^ +fix: Deploy the stack again", told, re.MULTILINE)


async def run_doctor(stage: Stage, *options: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "doctor", "--timeout", str(PATIENCE_S), *options),
        env=stage.environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()


def test_every_check_is_documented() -> None:
    """In docs/doctor.md, by its name, and nothing there that is none."""
    documented = re.findall(
        r"^\| `([a-z][a-zA-Z0-9.:-]+)` \|", (ROOT / "docs/doctor.md").read_text(), re.M
    )
    assert documented == [check.id for check in ALL]
