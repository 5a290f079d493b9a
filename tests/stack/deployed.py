"""infra/consumer.yaml and infra/consumer-small.yaml, as deployed beside template.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from infra.local.intrinsics import Resource, Surroundings
from tests.template.conftest import ROOT, Loader
from tests.template.synthesis import ACCOUNT, PSEUDO, REGION

CONSUMER: Final = ROOT / "infra/consumer.yaml"
SMALL: Final = ROOT / "infra/consumer-small.yaml"
STACK: Final = "statuswire-consumer"
HERE: Final = PSEUDO | {
    "AWS::StackName": STACK,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/5f3a0c1d-22e8-11f1",
}
# What must be answered, and has no default.
ANSWERS: Final[Mapping[str, dict[str, Any]]] = {
    CONSUMER.name: {
        "VpcId": "vpc-0a",
        "LoadBalancerSubnetIds": ["subnet-0a", "subnet-0b"],
        "TaskSubnetIds": ["subnet-0a", "subnet-0b"],
        "ViewersCidr": "0.0.0.0/0",
        "DomainName": "status.example.com",
        "CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/0a",
        "ImageDigest": "sha256:" + "0a" * 32,
    },
    SMALL.name: {
        "VpcId": "vpc-0a",
        "SubnetId": "subnet-0a",
        "AvailabilityZone": f"{REGION}a",
        "ImageId": "ami-0a",
    },
}
# "Return values" of the CloudFormation template reference, where a test looks at the value.
ARNS: Final = {
    "AWS::IAM::Role": "iam::{account}:role/{id}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{id}:*",
    "AWS::IAM::InstanceProfile": "iam::{account}:instance-profile/{id}",
}
REF_IS_ARN: Final = {
    "AWS::SecretsManager::Secret": "secretsmanager:{region}:{account}:secret:{id}-AbCdEf",
    "AWS::Lambda::LayerVersion": "lambda:{region}:{account}:layer:{id}:7",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "autoscaling:{region}:{account}:policy:{id}",
}
VALUES: Final = {
    "PrimaryEndPoint.Address": "master.log.abc123.use1.cache.amazonaws.com",
    "PrimaryEndPoint.Port": "6379",
    "LatestVersionNumber": "3",
}


def load(path: Path) -> dict[str, Any]:
    """A template, its short intrinsics in their long form."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader)  # noqa: S506 - a SafeLoader
    return loaded


def _arn(shape: str, name: str) -> str:
    return "arn:aws:" + shape.format(region=REGION, account=ACCOUNT, id=name)


@dataclass(frozen=True)
class Account(Surroundings):
    """What is there before: the other stack's exports. An attribute that no test looks into is
    `<resource>.<attribute>`.
    """

    exports: Mapping[str, str]

    def attribute(self, name: str, attribute: str) -> str:
        resource = self.resources[name]
        if attribute == "Arn":
            return _arn(ARNS[resource.type], name)
        return VALUES.get(attribute, f"{name}.{attribute}")

    def imported(self, name: str) -> str:
        return self.exports[name]


@dataclass(frozen=True)
class Deployed:
    """A template, its conditions applied and every intrinsic resolved."""

    resources: Mapping[str, Any]
    outputs: Mapping[str, str]

    def properties(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.resources[name]["Properties"]
        return found

    def of_type(self, kind: str) -> dict[str, Any]:
        """Properties by logical id."""
        return {n: r["Properties"] for n, r in self.resources.items() if r["Type"] == kind}

    def container(self, name: str) -> dict[str, Any]:
        (found,) = (
            each for each in self.properties("Task")["ContainerDefinitions"] if each["Name"] == name
        )
        return dict(found)


def deploy(path: Path, exports: Mapping[str, str], **parameters: Any) -> Deployed:
    """Raises where something refers to what is not there, or an answer is missing."""
    template = load(path)
    defaults = {n: p["Default"] for n, p in template["Parameters"].items() if "Default" in p}
    given = defaults | ANSWERS[path.name] | parameters
    assert given.keys() == template["Parameters"].keys()
    conditions = template["Conditions"]
    bare = Account(given, {}, conditions, HERE, exports)
    wanted = {
        name: resource
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or bare.holds(resource["Condition"])
    }
    known = {
        name: Resource(
            resource["Type"],
            _arn(REF_IS_ARN[resource["Type"]], name) if resource["Type"] in REF_IS_ARN else name,
        )
        for name, resource in wanted.items()
    }
    account = Account(given, known, conditions, HERE, exports)
    return Deployed(
        {name: account.resolve(resource) for name, resource in wanted.items()},
        {name: account.resolve(o["Value"]) for name, o in template["Outputs"].items()},
    )
