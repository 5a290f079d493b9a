"""The stack as CloudFormation tells of it after a deployment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.intrinsics import Resource, Surroundings

REST_API = "AWS::ApiGateway::RestApi"


@dataclass(frozen=True)
class Stack:
    """`outputs` by name; `template` is the processed one (after the SAM transform)."""

    name: str
    account: str
    region: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    resources: Mapping[str, Resource]
    template: Mapping[str, Any]

    def rest_api_body(self) -> dict[str, Any]:
        """The OpenAPI body of the one REST API, its intrinsics resolved.

        Raises UnresolvedError, or LookupError where there is not exactly one.
        """
        apis = [
            resource
            for resource in self.template["Resources"].values()
            if resource["Type"] == REST_API
        ]
        if len(apis) != 1:
            raise LookupError(f"Stack {self.name} has {len(apis)} REST APIs, one was expected")
        body: dict[str, Any] = self._surroundings().resolve(apis[0]["Properties"]["Body"])
        return body

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of all resources of a kind by logical id, their intrinsics resolved.

        Raises UnresolvedError.
        """
        near = self._surroundings()
        return {
            name: near.resolve(resource["Properties"])
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind
        }

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            parameters=self.parameters,
            resources=self.resources,
            conditions=self.template.get("Conditions", {}),
            pseudo={
                "AWS::AccountId": self.account,
                "AWS::Partition": "aws",
                "AWS::Region": self.region,
                "AWS::StackName": self.name,
                "AWS::URLSuffix": "amazonaws.com",
            },
        )


async def read_stack(cloudformation: Any, name: str) -> Stack:
    """`cloudformation` is an aioboto3 client; its ClientError means there is no such stack."""
    (described,) = (await cloudformation.describe_stacks(StackName=name))["Stacks"]
    listed = await cloudformation.describe_stack_resources(StackName=name)
    answer = await cloudformation.get_template(StackName=name, TemplateStage="Processed")
    template = answer["TemplateBody"]
    *_, region, account, _ = described["StackId"].split(":")
    return Stack(
        name=name,
        account=account,
        region=region,
        outputs={o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])},
        parameters={
            p["ParameterKey"]: p["ParameterValue"] for p in described.get("Parameters", [])
        },
        resources={
            r["LogicalResourceId"]: Resource(r["ResourceType"], r["PhysicalResourceId"])
            for r in listed["StackResources"]
        },
        # botocore parses a JSON template, and leaves any other as text.
        template=json.loads(template) if isinstance(template, str) else template,
    )
