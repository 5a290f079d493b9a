"""Request models: JSON Schema draft 4, and what API Gateway says of a body that fails one. Pure.

The messages are those of the validator that API Gateway uses, quotes included:
a gateway response that puts `$context.error.validationErrorString` between quotes
breaks there, so it must break here. Keywords without a known wording get their name.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from infra.local.mapping import parse_json


class Model:
    def __init__(self, schema: Mapping[str, Any], components: Mapping[str, Any]) -> None:
        # Draft 4 ignores what stands beside a reference, and the schema may be one.
        self._validator = jsonschema.Draft4Validator({"allOf": [schema], "components": components})

    def complaint(self, body: str) -> str | None:
        """What is wrong with the body, or None."""
        try:
            document = parse_json(body)
        except ValueError:
            return "[unable to parse the request body as JSON]"
        errors = [_word(error) for error in self._validator.iter_errors(document)]
        return f"[{', '.join(errors)}]" if errors else None


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _word(error: ValidationError) -> str:
    wording = WORDINGS.get(str(error.validator))
    return wording(error) if wording else f"{error.json_path}: {error.validator}"


def _missing(error: ValidationError) -> str:
    required: Any = error.validator_value
    given: Any = error.instance
    missing = [name for name in required if name not in given]
    return f"object has missing required properties ({_compact(missing)})"


def _mistyped(error: ValidationError) -> str:
    allowed = error.validator_value
    return (
        f"instance type ({_type_name(error.instance)}) does not match any allowed primitive type "
        f"(allowed: {_compact(allowed if isinstance(allowed, list) else [allowed])})"
    )


def _type_name(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


WORDINGS: dict[str, Callable[[ValidationError], str]] = {
    "required": _missing,
    "type": _mistyped,
    "pattern": lambda e: (
        f'ECMA 262 regex "{e.validator_value}" does not match input string "{e.instance}"'
    ),
    "enum": lambda e: (
        f"instance value ({_compact(e.instance)}) not found in enum "
        f"(possible values: {_compact(e.validator_value)})"
    ),
    "maxLength": lambda e: (
        f'string "{e.instance}" is too long '
        f"(length: {len(str(e.instance))}, maximum allowed: {e.validator_value})"
    ),
    "minLength": lambda e: (
        f'string "{e.instance}" is too short '
        f"(length: {len(str(e.instance))}, required minimum: {e.validator_value})"
    ),
}
