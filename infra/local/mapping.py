"""Mapping templates: what `$input`, `$util`, `$context` and `$stageVariables` are to VTL. Pure.

Source: API Gateway developer guide, "Variables for data transformations for API
Gateway"; overrides: "Override your API's request and response parameters".
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from airspeed.operators import Template, TemplateError

from infra.local.json_path import PathError, look_up

ESCAPES = {
    **{'"': '\\"', "'": "\\'", "\\": "\\\\", "/": "\\/"},
    **{"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"},
}


class MappingError(ValueError):
    """A template could not be rendered; its author must act (API Gateway answers 500)."""


def escape_java_script(text: str) -> str:
    """Apache Commons' escapeEcmaScript: quotes, slashes, controls, and all beyond ASCII.

    Apostrophes become `\\'`, which is not JSON: templates take that back.
    """
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if " " <= character <= "\x7f":
        return character
    # Java escapes UTF-16 units: what lies beyond U+FFFF becomes a surrogate pair.
    units = character.encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def is_unicode(text: str) -> bool:
    """Whether it holds no half of a surrogate pair, which UTF-8 cannot say."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def parse_json(text: str) -> Any:
    """Strict JSON. Raises ValueError, for NaN, endless numbers and endless nesting too."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    def finite(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError("a number is too large")
        return number

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


class Input:
    """`$input`: the payload and the request's parameters."""

    def __init__(self, body: str, parameters: Mapping[str, Mapping[str, str]]) -> None:
        self.body = body
        self._parameters = parameters

    def path(self, path: str) -> Any:
        return look_up(self._document(), path)

    def json(self, path: str) -> str:
        value = look_up(self._document(), path)
        return json.dumps("" if value is None and path != "$" else value, ensure_ascii=False)

    def params(self, name: str | None = None) -> Any:
        """One parameter, searched in path, query string and headers; without a name, all."""
        if name is None:
            return {place: dict(values) for place, values in self._parameters.items()}
        for place in ("path", "querystring", "header"):
            for known, value in self._parameters[place].items():
                if known == name or (place == "header" and known.lower() == name.lower()):
                    return value
        return ""

    def _document(self) -> Any:
        if not self.body:
            return {}
        try:
            return parse_json(self.body)
        except ValueError as error:
            raise MappingError("The payload is not JSON") from error


class Util:
    """`$util`, under the names that templates use."""

    escapeJavaScript = staticmethod(escape_java_script)  # noqa: N815
    parseJson = staticmethod(parse_json)  # noqa: N815
    urlEncode = staticmethod(quote_plus)  # noqa: N815
    urlDecode = staticmethod(unquote_plus)  # noqa: N815

    @staticmethod
    def base64Encode(text: str) -> str:  # noqa: N802
        return base64.b64encode(text.encode()).decode()

    @staticmethod
    def base64Decode(text: str) -> str:  # noqa: N802
        return base64.b64decode(text).decode()


class Once(dict[str, Any]):
    """Overrides. Each may be set once: API Gateway answers a second with a 5XX."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self:
            raise MappingError(f"The override {name} was set twice")
        super().__setitem__(name, value)


@dataclass(frozen=True)
class Rendered:
    """A template's text, and what it overrode. `status` is None where it did not."""

    text: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=256)
def _compile(template: str) -> Template:
    compiled = Template(template)
    compiled.ensure_compiled()
    return compiled


def render(
    template: str,
    *,
    given: Input,
    context: Mapping[str, Any],
    stage_variables: Mapping[str, str],
) -> Rendered:
    """Raises MappingError."""
    headers = Once()
    override = Once(header=headers)
    namespace = {
        "input": given,
        "util": Util,
        "context": {**context, "responseOverride": override},
        "stageVariables": dict(stage_variables),
    }
    try:
        text = _compile(template).merge(namespace)
        status = int(override["status"]) if "status" in override else None
    except (TemplateError, PathError, ValueError) as error:
        raise MappingError(str(error)) from error
    return Rendered(text, status, {name: str(value) for name, value in headers.items()})
