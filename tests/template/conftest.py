"""What is deployed, read as data: the template, the rendered definitions, the API."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template.synthesis import Deployed, deploy, synthesize

ROOT = Path(__file__).parents[2]
DEFINITION = ROOT / "statemachines/instance.asl.json"
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short intrinsics, read as their long form."""


def _intrinsic(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = str(value).split(".")
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _intrinsic)


def load(path: Path) -> dict[str, Any]:
    """A template before the SAM transform."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader)  # noqa: S506 - a SafeLoader
    return loaded


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """template.yaml before the SAM transform."""
    return load(ROOT / "template.yaml")


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"]
    return found


@pytest.fixture(scope="session")
def api() -> dict[str, Any]:
    """infra/openapi.yaml; a plain loader, since an included file has long forms only."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "infra/openapi.yaml").read_text())
    return loaded


@pytest.fixture(scope="session")
def synthesized(template: dict[str, Any], api: dict[str, Any]) -> dict[str, Any]:
    """template.yaml after the SAM transform, the API's definition included."""
    return synthesize(template, api)


@pytest.fixture(scope="session")
def deployed(synthesized: dict[str, Any]) -> Deployed:
    """The stack as `sam deploy` makes it when every question is answered with Enter."""
    return deploy(synthesized)


@pytest.fixture(scope="session")
def definition_text() -> str:
    return DEFINITION.read_text()


@pytest.fixture(scope="session", params=["ExpressMachine", "StandardMachine"])
def machine(request: pytest.FixtureRequest, template: dict[str, Any]) -> dict[str, Any]:
    """Properties of each machine in turn, its parameters replaced by their defaults."""
    properties = dict(template["Resources"][request.param]["Properties"])
    parameters = {name: p["Default"] for name, p in template["Parameters"].items()}
    queues = {"StatusQueue": "https://sqs.example/status.fifo"}
    properties["DefinitionSubstitutions"] = {
        name: (parameters | queues)[value["Ref"]] if isinstance(value, dict) else value
        for name, value in properties["DefinitionSubstitutions"].items()
    }
    return properties


@pytest.fixture(scope="session")
def definition(machine: dict[str, Any], definition_text: str) -> dict[str, Any]:
    """The definition as each machine gets it."""
    values = machine["DefinitionSubstitutions"]
    rendered: dict[str, Any] = json.loads(
        PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), definition_text)
    )
    return rendered
