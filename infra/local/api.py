"""An API as API Gateway imports it: routes, models, integrations, gateway responses. Pure.

Reads the resolved OpenAPI 3.0 body of the deployed RestApi. Nothing of it is
known here beforehand. Source: API Gateway developer guide, "OpenAPI extensions".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.models import Model

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
ANY = "x-amazon-apigateway-any-method"


class ApiError(ValueError):
    """The body asks for something that the local run cannot do."""


@dataclass(frozen=True)
class IntegrationResponse:
    """`pattern` is matched against the backend's status; None: the default."""

    pattern: str | None
    status: int
    headers: Mapping[str, str]
    templates: Mapping[str, str]


@dataclass(frozen=True)
class Integration:
    type: str
    uri: str
    passthrough: str
    templates: Mapping[str, str]
    responses: tuple[IntegrationResponse, ...]
    timeout_s: float

    def response_for(self, status: int) -> IntegrationResponse | None:
        """The first whose pattern matches the whole status, else the default."""
        for response in self.responses:
            if response.pattern is not None and re.fullmatch(response.pattern, str(status)):
                return response
        return next((r for r in self.responses if r.pattern is None), None)


@dataclass(frozen=True)
class Route:
    """One method of one resource.

    `models` is keyed by Content-Type (`$default` for any other), empty when unchecked;
    `required` names (place, name) of the parameters that must be there.
    """

    method: str
    resource: str
    path: re.Pattern[str]
    integration: Integration
    models: Mapping[str, Model]
    required: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class GatewayResponse:
    status: int | None
    headers: Mapping[str, str]
    templates: Mapping[str, str]


@dataclass(frozen=True)
class Api:
    routes: tuple[Route, ...]
    gateway_responses: Mapping[str, GatewayResponse]

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and the path's parameters, as they stood in the path."""
        for route in self.routes:
            found = route.path.fullmatch(path)
            if found and route.method in (method, "ANY"):
                return route, found.groupdict()
        return None


def read_api(body: Mapping[str, Any]) -> Api:
    """Raises ApiError."""
    routes = [
        _route(body, method, resource, item[key], item.get("parameters", []))
        for resource, item in body["paths"].items()
        for key, method in [*((name, name.upper()) for name in METHODS), (ANY, "ANY")]
        if key in item
    ]
    # A literal path goes before one with parameters, a method before ANY.
    routes.sort(key=lambda route: (route.resource.count("{"), route.method == "ANY"))
    answers = body.get("x-amazon-apigateway-gateway-responses", {})
    return Api(tuple(routes), {kind: _gateway_response(given) for kind, given in answers.items()})


def _route(
    body: Mapping[str, Any],
    method: str,
    resource: str,
    operation: Mapping[str, Any],
    shared_parameters: list[Mapping[str, Any]],
) -> Route:
    if "x-amazon-apigateway-integration" not in operation:
        raise ApiError(f"{method} {resource} has no integration")
    validator = _validator(body, operation)
    request = _dereference(body, operation.get("requestBody", {}))
    checks_body = validator.get("validateRequestBody", False)
    checks_parameters = validator.get("validateRequestParameters", False)
    parameters = [*shared_parameters, *operation.get("parameters", [])]
    return Route(
        method=method,
        resource=resource,
        path=_pattern(resource),
        integration=_integration(operation["x-amazon-apigateway-integration"]),
        models=dict(_models(body, request)) if checks_body else {},
        required=tuple(
            (parameter["in"], parameter["name"])
            for parameter in (_dereference(body, given) for given in parameters)
            if checks_parameters and parameter.get("required")
        ),
    )


def _validator(body: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    key = "x-amazon-apigateway-request-validator"
    name = operation.get(key, body.get(key))
    if name is None:
        return {}
    validators: Mapping[str, Mapping[str, Any]] = body[f"{key}s"]
    return validators[name]


def _models(body: Mapping[str, Any], request: Mapping[str, Any]) -> Iterator[tuple[str, Model]]:
    components = body.get("components", {})
    for content_type, media in request.get("content", {}).items():
        yield content_type.lower(), Model(media["schema"], components)


def _dereference(body: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a `{"$ref": "#/components/…"}` stands for; anything else as it is."""
    if "$ref" not in node:
        return node
    found: Any = body
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return _dereference(body, found)


def _pattern(resource: str) -> re.Pattern[str]:
    parts = re.split(r"\{([^}]+)\}", resource)
    pattern = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        reach = ".+" if name.endswith("+") else "[^/]+"
        pattern += f"(?P<{name.rstrip('+')}>{reach})" + re.escape(literal)
    return re.compile(pattern)


def _integration(given: Mapping[str, Any]) -> Integration:
    responses = [
        IntegrationResponse(
            pattern=None if pattern == "default" else pattern,
            status=int(response["statusCode"]),
            headers=response.get("responseParameters", {}),
            templates=response.get("responseTemplates", {}),
        )
        for pattern, response in given.get("responses", {}).items()
    ]
    return Integration(
        type=given["type"].lower(),
        uri=given.get("uri", ""),
        passthrough=given.get("passthroughBehavior", "when_no_match").lower(),
        templates={k.lower(): v for k, v in given.get("requestTemplates", {}).items()},
        responses=tuple(responses),
        timeout_s=given.get("timeoutInMillis", 29_000) / 1000,
    )


def _gateway_response(given: Mapping[str, Any]) -> GatewayResponse:
    status = given.get("statusCode")
    return GatewayResponse(
        status=int(status) if status else None,
        headers=given.get("responseParameters", {}),
        templates=given.get("responseTemplates", {}),
    )
