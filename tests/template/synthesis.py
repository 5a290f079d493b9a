"""What CloudFormation makes of a template: after the SAM transform, and deployed by name.

The transform is AWS's own code (aws-sam-translator), as `sam deploy` has it applied. Names and ARNs
have the shapes that AWS gives them: "Return values" of each type in the CloudFormation template
reference, "Resource types" of each service in the service authorization reference.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

from infra.local.intrinsics import Resource, Surroundings

ACCOUNT, REGION, STACK = "123456789012", "eu-central-1", "statuswire"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1",
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
}
NAMED_BY = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::ApiGatewayV2::Stage": "StageName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::IAM::ManagedPolicy": "iam::{account}:policy/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::SecretsManager::Secret": "secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}
# What Ref gives of those that AWS numbers, in the shape that their region is read from.
NUMBERED = {
    "AWS::Cognito::IdentityPool": f"{REGION}:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    "AWS::Cognito::UserPool": f"{REGION}_0A1b2C3d4",
    "AWS::Cognito::UserPoolClient": "0a1b2c3d4e5f60718293a4b5c6",
}
REF_IS_ARN = (
    *("AWS::IAM::ManagedPolicy", "AWS::SecretsManager::Secret"),
    "AWS::StepFunctions::StateMachine",
)


def synthesize(template: dict[str, Any], api: dict[str, Any]) -> dict[str, Any]:
    """The template after the SAM transform, with `api` in place of its include."""
    source = copy.deepcopy(template)
    for resource in source["Resources"].values():
        properties = resource["Properties"]
        for local in {"CodeUri", "ContentUri", "DefinitionUri"} & properties.keys():
            properties[local] = "s3://bucket/key"  # as `sam package` would leave it
        if "DefinitionBody" in properties:
            properties["DefinitionBody"] = copy.deepcopy(api)
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    made: dict[str, Any] = translator.translate(source, parameter_values={})
    return made


@dataclass(frozen=True)
class Account(Surroundings):
    """`Surroundings` that know every attribute that the template asks for."""

    names: Mapping[str, str]

    def attribute(self, name: str, attribute: str) -> str:
        if attribute == "ProviderName":
            return f"cognito-idp.{REGION}.amazonaws.com/{self.names[name]}"
        if attribute in ("Arn", "Id"):
            return _arn(self.resources[name].type, self.names[name])
        assert attribute in ("Name", "QueueName"), attribute
        return self.names[name]


@dataclass(frozen=True)
class Deployed:
    """A synthesized template, its conditions applied and every intrinsic resolved."""

    resources: Mapping[str, Any]
    outputs: Mapping[str, str]
    names: Mapping[str, str]

    def of_type(self, kind: str) -> dict[str, Any]:
        """Properties by logical id."""
        return {n: r["Properties"] for n, r in self.resources.items() if r["Type"] == kind}

    def properties(self, logical_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.resources[logical_id]["Properties"]
        return found

    def arn(self, logical_id: str) -> str:
        return _arn(self.resources[logical_id]["Type"], self.names[logical_id])

    def grants(self, role: str) -> Iterator[dict[str, Any]]:
        """Statements on a role of the template: its own, and of the template's policies on it."""
        for policy in self.properties(role).get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]
        attached = self.properties(role).get("ManagedPolicyArns", [])
        for name, policy in self.of_type("AWS::IAM::ManagedPolicy").items():
            if self.names[role] in policy.get("Roles", []) or self.arn(name) in attached:
                yield from self.policy(name)

    def policy(self, name: str) -> list[dict[str, Any]]:
        """Statements of a managed policy, which may be JSON text."""
        document = self.properties(name)["PolicyDocument"]
        if isinstance(document, str):
            document = json.loads(document)
        found: list[dict[str, Any]] = document["Statement"]
        return found


def deploy(made: dict[str, Any], **parameters: Any) -> Deployed:
    """Raises UnresolvedError where something refers to what is not there."""
    defaults = {n: p["Default"] for n, p in made["Parameters"].items() if "Default" in p}
    bare = Surroundings(defaults | parameters, {}, made["Conditions"], PSEUDO)
    wanted = {
        name: resource
        for name, resource in made["Resources"].items()
        if "Condition" not in resource or bare.holds(resource["Condition"])
    }
    names = {name: _name(bare, name, resource) for name, resource in wanted.items()}
    account = Account(
        **vars(replace(bare, resources=_references(wanted, names))),
        names=names,
    )
    return Deployed(
        resources={name: account.resolve(resource) for name, resource in wanted.items()},
        outputs={
            name: account.resolve(output["Value"])
            for name, output in made["Outputs"].items()
            if "Condition" not in output or bare.holds(output["Condition"])
        },
        names=names,
    )


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _references(wanted: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Resource]:
    """What Ref gives."""
    found = {}
    for logical_id, resource in wanted.items():
        kind, reference = resource["Type"], names[logical_id]
        if kind in REF_IS_ARN:
            reference = _arn(kind, reference)
        elif kind == "AWS::SQS::Queue":
            reference = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{reference}"
        found[logical_id] = Resource(kind, reference)
    return found


def _name(near: Surroundings, logical_id: str, resource: Mapping[str, Any]) -> str:
    """The template's name, or one as AWS generates it."""
    if resource["Type"] in NUMBERED:
        return NUMBERED[resource["Type"]]
    given = resource["Properties"].get(NAMED_BY.get(resource["Type"], ""))
    return str(near.resolve(given)) if given else f"{STACK}-{logical_id}-0A1B2C3D4E5F"


def _arn(kind: str, name: str) -> str:
    return "arn:aws:" + ARNS[kind].format(region=REGION, account=ACCOUNT, name=name)
