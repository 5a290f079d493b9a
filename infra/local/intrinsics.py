"""CloudFormation's intrinsic functions, resolved against a deployed stack. Pure.

The emulator can hand out the processed template but not the resources' properties
as CloudFormation resolved them, so the API's body is resolved here. A function
that is not known raises: a guess would serve something that was not deployed.
Source: AWS CloudFormation user guide, intrinsic function reference.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SUBSTITUTION = re.compile(r"\$\{(!?)([^}]+)\}")
NO_VALUE = object()


class UnresolvedError(ValueError):
    """The template uses something that this module does not know."""


@dataclass(frozen=True)
class Resource:
    type: str
    physical_id: str


@dataclass(frozen=True)
class Surroundings:
    """What references can point at. `pseudo` holds AWS::Region and its like."""

    parameters: Mapping[str, str]
    resources: Mapping[str, Resource]
    conditions: Mapping[str, Any]
    pseudo: Mapping[str, str]

    def resolve(self, node: Any) -> Any:
        """`node` with every intrinsic replaced by its value. Raises UnresolvedError."""
        if isinstance(node, list):
            return [value for item in node if (value := self.resolve(item)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in FUNCTIONS:
                return FUNCTIONS[name](self, argument)
            if name.startswith("Fn::"):
                raise UnresolvedError(f"The local run does not know {name}")
        values = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not NO_VALUE}

    def reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        for known in (self.pseudo, self.parameters):
            if name in known:
                return known[name]
        if name in self.resources:
            return self.resources[name].physical_id
        raise UnresolvedError(f"Nothing is called {name}")

    def attribute(self, name: str, attribute: str) -> str:
        resource = self.resources.get(name)
        if resource is None:
            raise UnresolvedError(f"No resource is called {name}")
        shape = ATTRIBUTES.get((resource.type, attribute))
        if shape is None:
            raise UnresolvedError(f"The local run does not know {resource.type}'s {attribute}")
        # A queue's physical id is its address, whose last part is its name.
        last_part = resource.physical_id.rsplit("/", 1)[-1]
        return shape.format(
            id=resource.physical_id,
            name=last_part,
            partition=self.pseudo["AWS::Partition"],
            region=self.pseudo["AWS::Region"],
            account=self.pseudo["AWS::AccountId"],
        )

    def imported(self, name: str) -> str:
        """What another stack exports under a name."""
        raise UnresolvedError(f"The local run has no other stack, so nothing exports {name}")

    def holds(self, condition: str) -> bool:
        if condition not in self.conditions:
            raise UnresolvedError(f"No condition is called {condition}")
        return bool(self.resolve(self.conditions[condition]))


# ARN formats: AWS service authorization reference, "Resource types defined by …".
ATTRIBUTES = {
    ("AWS::IAM::Role", "Arn"): "arn:{partition}:iam::{account}:role/{name}",
    ("AWS::Lambda::Function", "Arn"): "arn:{partition}:lambda:{region}:{account}:function:{name}",
    ("AWS::Logs::LogGroup", "Arn"): "arn:{partition}:logs:{region}:{account}:log-group:{id}:*",
    ("AWS::SQS::Queue", "Arn"): "arn:{partition}:sqs:{region}:{account}:{name}",
    ("AWS::SQS::Queue", "QueueName"): "{name}",
    ("AWS::SQS::Queue", "QueueUrl"): "{id}",
    ("AWS::StepFunctions::StateMachine", "Arn"): "{id}",
    ("AWS::ApiGateway::RestApi", "RestApiId"): "{id}",
}


def _substitute(near: Surroundings, argument: Any) -> str:
    text, extra = (argument, {}) if isinstance(argument, str) else argument

    def replace(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return f"${{{name}}}"
        name = name.strip()
        if name in extra:
            return str(near.resolve(extra[name]))
        if "." in name:
            return near.attribute(*name.split(".", 1))
        return str(near.reference(name))

    return SUBSTITUTION.sub(replace, text)


def _attribute(near: Surroundings, argument: Any) -> str:
    name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
    return near.attribute(name, near.resolve(attribute))


def _choose(near: Surroundings, argument: Any) -> Any:
    condition, yes, no = argument
    return near.resolve(yes if near.holds(condition) else no)


def _join(near: Surroundings, argument: Any) -> str:
    separator, parts = argument
    return str(separator).join(map(str, near.resolve(parts)))


def _select(near: Surroundings, argument: Any) -> Any:
    index, values = argument
    return near.resolve(values)[int(index)]


def _split(near: Surroundings, argument: Any) -> list[str]:
    separator, text = argument
    return str(near.resolve(text)).split(separator)


def _base64(near: Surroundings, argument: Any) -> str:
    return base64.b64encode(str(near.resolve(argument)).encode()).decode()


FUNCTIONS: dict[str, Callable[[Surroundings, Any], Any]] = {
    "Ref": Surroundings.reference,
    "Condition": Surroundings.holds,
    "Fn::Sub": _substitute,
    "Fn::GetAtt": _attribute,
    "Fn::If": _choose,
    "Fn::Join": _join,
    "Fn::Equals": lambda near, pair: near.resolve(pair[0]) == near.resolve(pair[1]),
    "Fn::Not": lambda near, one: not near.resolve(one[0]),
    "Fn::And": lambda near, many: all(map(near.resolve, many)),
    "Fn::Or": lambda near, many: any(map(near.resolve, many)),
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Base64": _base64,
    "Fn::ImportValue": lambda near, name: near.imported(near.resolve(name)),
}
