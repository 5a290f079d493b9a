"""The server's messages as `infra/asyncapi.yaml` has them: what is read is held against it."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

INFRA: Final = Path(__file__).parents[2] / "infra"
_NAMES: Final = {"token": "tokenRenewed"}  # of the one op that goes both ways


@cache
def _registry() -> Registry[Any]:
    documents = {
        "asyncapi.yaml": yaml.safe_load((INFRA / "asyncapi.yaml").read_text()),
        "status-event.schema.json": json.loads((INFRA / "status-event.schema.json").read_text()),
    }
    return Registry[Any]().with_resources(
        (f"file:///{name}", DRAFT202012.create_resource(document))
        for name, document in documents.items()
    )


@cache
def _validator(op: str) -> Draft202012Validator:
    name = _NAMES.get(op, op)
    where = f"file:///asyncapi.yaml#/components/messages/{name}/payload"
    return Draft202012Validator({"$ref": where}, registry=_registry())


def check(message: dict[str, Any]) -> dict[str, Any]:
    """The message, which is a documented one of its op. Raises `jsonschema.ValidationError`."""
    _validator(message["op"]).validate(message)
    return message


def capabilities() -> list[str]:
    """What a `welcome` may name as lacking."""
    document = yaml.safe_load((INFRA / "asyncapi.yaml").read_text())
    named: list[str] = document["components"]["schemas"]["capability"]["enum"]
    return named
