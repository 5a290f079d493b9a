"""The consumer's stacks beside the workflows, as far as the embedded AWS knows their parts.

It checks types before it makes anything, as CloudFormation does. What it has not, and why a test
goes without, is tabled in docs/operations.md.
"""

import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import aioboto3
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from infra.local.run import LocalRun
from tests.stack.deployed import ANSWERS, CONSUMER, SMALL, load
from tests.template.conftest import ROOT

# Types that it does not know.
REFUSED: Final = {
    CONSUMER: {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::EC2::SecurityGroupIngress",
    },
    SMALL: {"AWS::EC2::Volume"},
}
IMAGE: Final = "/images/al2023"  # AWS's own parameter is not there
METRIC_MATH: Final = "QueueAgeAlarm"  # as the alarm for silence of template.yaml

Template = dict[str, Any]


class Account(NamedTuple):
    """Clients of the embedded AWS, and what is there before any stack."""

    cloudformation: Any
    ecs: Any
    elasticache: Any
    iam: Any
    s3: Any
    ssm: Any
    vpc: str
    subnets: list[str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def account(embedded_aws: LocalRun) -> AsyncIterator[Account]:
    session = aioboto3.Session()
    settings = embedded_aws.client_settings
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(session.client(name, **settings))
            for name in ("cloudformation", "ecs", "elasticache", "iam", "s3", "ssm", "ec2")
        }
        ec2 = clients.pop("ec2")
        (vpc,) = (await ec2.describe_vpcs())["Vpcs"]
        subnets = [each["SubnetId"] for each in (await ec2.describe_subnets())["Subnets"]]
        await clients["ssm"].put_parameter(
            Name=IMAGE, Value="ami-0a1b2c3d4e5f60718", Type="String", Overwrite=True
        )
        yield Account(**clients, vpc=vpc["VpcId"], subnets=subnets[:2])


def without_what_is_refused(path: Path) -> Template:
    """And without what refers to it."""
    template = load(path)
    resources = template["Resources"]
    gone = {name for name, each in resources.items() if each["Type"] in REFUSED[path]}
    gone |= {METRIC_MATH} & resources.keys()
    for name in gone:
        del resources[name]
    for resource in resources.values():
        resource["DependsOn"] = [n for n in resource.get("DependsOn", []) if n not in gone]
    return template


async def create(account: Account, path: Path, template: Template, name: str) -> dict[str, Any]:
    """The stack, once it is there; raises ClientError where it is refused."""
    answers = ANSWERS[path.name] | {"VpcId": account.vpc}
    if path == CONSUMER:
        answers |= {"LoadBalancerSubnetIds": account.subnets, "TaskSubnetIds": account.subnets}
    else:
        answers |= {"SubnetId": account.subnets[0], "AvailabilityZone": "us-east-1a"}
        answers["ImageId"] = IMAGE
    await account.cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template, separators=(",", ":")),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {
                "ParameterKey": key,
                "ParameterValue": ",".join(value) if isinstance(value, list) else value,
            }
            for key, value in answers.items()
        ],
    )
    waiter = account.cloudformation.get_waiter("stack_create_complete")
    await waiter.wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100})
    (stack,) = (await account.cloudformation.describe_stacks(StackName=name))["Stacks"]
    return dict(stack)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def many(account: Account) -> dict[str, str]:
    """Outputs of the stack for many, without what is refused."""
    return outputs(await create(account, CONSUMER, without_what_is_refused(CONSUMER), "many"))


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


@pytest.mark.parametrize("path", [CONSUMER, SMALL], ids=lambda path: path.stem)
@pytest.mark.asyncio(loop_scope="session")
async def test_what_the_embedded_aws_refuses(account: Account, path: Path) -> None:
    """By type, before anything is made; and the documentation names each."""
    with pytest.raises(ClientError) as refused:
        await create(account, path, load(path), f"refused-{path.stem}")
    told = set(re.findall(r"AWS::\w+::\w+", str(refused.value)))
    assert told == REFUSED[path]
    text = (ROOT / "docs/operations.md").read_text()
    assert all(f"`{name}`" in text for name in told)


@pytest.mark.asyncio(loop_scope="session")
async def test_the_stack_for_many_is_made(
    account: Account, embedded_aws: LocalRun, many: dict[str, str]
) -> None:
    """All the rest: it imports what the workflows export, and its service is of its task."""
    (service,) = (
        await account.ecs.describe_services(
            cluster=many["ClusterName"], services=[many["ServiceName"]]
        )
    )["services"]
    task = await account.ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
    consumer, metrics = task["taskDefinition"]["containerDefinitions"]
    environment = {each["name"]: each["value"] for each in consumer["environment"]}
    workflows = embedded_aws.stack.outputs
    assert environment["STATUSWIRE_QUEUE_URL"] == workflows["StatusQueueUrl"]
    assert environment["STATUSWIRE_AUDIENCE"] == workflows["TokenAudience"]
    assert metrics["command"] == ["--service", "many"]
    role = many["ConsumerRoleArn"].rpartition("/")[2]
    attached = await account.iam.list_attached_role_policies(RoleName=role)
    assert [each["PolicyArn"] for each in attached["AttachedPolicies"]] == [
        workflows["ConsumerPolicyArn"]
    ]
    users = (await account.elasticache.describe_users(UserId=many["LogUserId"]))["Users"]
    assert [user["UserName"] for user in users] == ["statuswire"]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_a_consumer_imports_stays(account: Account, many: dict[str, str]) -> None:
    """CloudFormation refuses to delete the stack that exports it."""
    del many  # is there
    with pytest.raises(ClientError, match=r"(?i)export"):
        await account.cloudformation.delete_stack(StackName="statuswire")


@pytest.mark.asyncio(loop_scope="session")
async def test_the_small_stack_is_made(account: Account) -> None:
    """With a disk that is there already, and a bundle that `sam deploy` would have uploaded."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("bin/statuswire", "#!/bin/sh\n")
    await account.s3.create_bucket(Bucket="bundles")
    await account.s3.put_object(Bucket="bundles", Key="bundle.zip", Body=bundle.getvalue())
    template = without_what_is_refused(SMALL)
    template["Parameters"]["Disk"] = {"Type": "String", "Default": "vol-0a1b2c3d4e5f60718"}
    template["Resources"]["Bundle"]["Properties"]["Content"] = {
        "S3Bucket": "bundles",
        "S3Key": "bundle.zip",
    }
    stack = await create(account, SMALL, template, "small")
    assert outputs(stack)["GroupName"] == "small"
