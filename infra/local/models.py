"""Request models: JSON Schema draft 4, and what API Gateway says of a body that fails one. Pure.

The messages are those of the validator that API Gateway uses, quotes included:
a gateway response that puts `$context.error.validationErrorString` between quotes
breaks there, so it must break here. Keywords without a known wording get their name.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from infra.local.mapping import is_unicode, parse_json


def _ecma_262(pattern: str) -> str:
    """The pattern for Python, whose `$` also matches before a last line end."""
    parts = re.findall(r"\\.|\[(?:\\.|[^\]])*\]|.", pattern, re.DOTALL)
    return "".join(r"\Z" if part == "$" else part for part in parts)


def _check_pattern(
    _: object, pattern: str, instance: object, __: object
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re.search(_ecma_262(pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _ignore(*_: object) -> tuple[()]:
    """Keywords that an import leaves out (developer guide, "important notes", REST APIs)."""
    return ()


Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft4Validator,
    {"pattern": _check_pattern, "minItems": _ignore, "maxItems": _ignore},
)


class Model:
    def __init__(self, schema: Mapping[str, Any], components: Mapping[str, Any]) -> None:
        # Draft 4 ignores what stands beside a reference, and the schema may be one.
        self._validator = Validator({"allOf": [schema], "components": components})

    def complaint(self, body: str) -> str | None:
        """What is wrong with the body, or None."""
        try:
            document = parse_json(body)
            # Halves of surrogate pairs are refused here; AWS's documents do not say.
            readable = is_unicode(json.dumps(document, ensure_ascii=False))
        except (ValueError, RecursionError):
            readable = False
        if not readable:
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
