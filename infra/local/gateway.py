"""One request through the deployed API, as API Gateway would answer it.

IAM signatures are not checked: everyone on this machine is allowed. Neither are
throttles, keys, authorizers or WAF; CORS is whatever the API's own OPTIONS say.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from typing import Any

from infra.local.api import Api, GatewayResponse, Integration, IntegrationResponse, Route
from infra.local.backend import Backend, BackendReply, UnknownIntegrationError
from infra.local.exchange import RefusalError, Reply, Request, Stage, new_context, substitute
from infra.local.json_path import look_up
from infra.local.mapping import Input, MappingError, Rendered, is_unicode, parse_json, render
from infra.local.proxy import proxy_event, proxy_reply

log = logging.getLogger(__name__)

ERROR_TEMPLATE = '{"message":$context.error.messageString}'
JSON = "application/json"


class Gateway:
    def __init__(self, api: Api, stage: Stage, backend: Backend) -> None:
        self._api = api
        self.stage = stage
        self.backend = backend

    async def answer(self, request: Request) -> Reply:
        """Never raises for what a client or the backend does."""
        context = new_context(request, self.stage, "")
        try:
            route, path_parameters = self._match(request)
            context["resourcePath"] = route.resource
            return await Exchange(self, route, request, path_parameters, context).answer()
        except RefusalError as refusal:
            if refusal.status >= 500:
                log.warning("%s %s: %s", request.method, request.path, refusal)
            return self.refuse(request, refusal, context)

    def _match(self, request: Request) -> tuple[Route, dict[str, str]]:
        found = self._api.match(request.method, request.path)
        if found is None:
            # An unknown route looks to API Gateway like one whose signature is missing.
            raise RefusalError("MISSING_AUTHENTICATION_TOKEN")
        return found

    def refuse(self, request: Request, refusal: RefusalError, context: dict[str, Any]) -> Reply:
        """The gateway response of that type, or of its class, or the built-in one."""
        answers = self._api.gateway_responses
        fallback = "DEFAULT_4XX" if refusal.status < 500 else "DEFAULT_5XX"
        shape = answers.get(refusal.kind) or answers.get(fallback)
        shape = shape or GatewayResponse(status=None, headers={}, templates={})
        context["error"] = {
            "message": refusal.message,
            "messageString": json.dumps(refusal.message),
            "responseType": refusal.kind,
            "validationErrorString": refusal.validation,
        }
        content_type, template = next(iter(shape.templates.items()), (JSON, ERROR_TEMPLATE))
        headers = [("Content-Type", content_type), ("x-amzn-RequestId", context["requestId"])]
        for target, source in shape.headers.items():
            if source.startswith("'"):
                headers.append((target.rsplit(".", 1)[-1], source.strip("'")))
            elif source.startswith("method.request.header."):
                value = request.header(source.rsplit(".", 1)[-1])
                headers.extend([(target.rsplit(".", 1)[-1], value)] if value else [])
        body = substitute(template, context).encode()
        return Reply(shape.status or refusal.status, tuple(headers), body)


class Exchange:
    """One request on its way through one route."""

    def __init__(
        self,
        gateway: Gateway,
        route: Route,
        request: Request,
        path_parameters: Mapping[str, str],
        context: dict[str, Any],
    ) -> None:
        self._gateway = gateway
        self._route = route
        self._request = request
        self._context = context
        self._parameters: dict[str, Mapping[str, str]] = {
            "path": path_parameters,
            "querystring": dict(request.query),
            "header": dict(request.headers),
        }

    async def answer(self) -> Reply:
        """Raises RefusalError."""
        self._check_parameters()
        self._check_body()
        integration = self._route.integration
        if integration.type in ("aws_proxy", "lambda_proxy"):
            return await self._answer_by_function(integration)
        payload = self._payload(integration)
        if integration.type == "mock":
            return self._reply(integration, _mock(payload))
        backend_reply = await self._in_time(
            self._gateway.backend.call_action(integration.uri, payload)
        )
        return self._reply(integration, backend_reply)

    def _check_parameters(self) -> None:
        places = {"query": "querystring", "path": "path", "header": "header"}
        missing = [
            name
            for place, name in self._route.required
            if not any(known.lower() == name.lower() for known in self._parameters[places[place]])
        ]
        if missing:
            raise RefusalError(
                "BAD_REQUEST_PARAMETERS",
                message=f"Missing required request parameters: [{', '.join(missing)}]",
            )

    def _check_body(self) -> None:
        """A Content-Type that no model is keyed by is not checked: AWS does not, either.

        Bytes that are not UTF-8 are refused everywhere; AWS's documents do not say what it does.
        """
        if not is_unicode(self._request.body):
            raise RefusalError("BAD_REQUEST_BODY", because="the body is not UTF-8")
        models = self._route.models
        model = models.get(self._request.media_type("content-type")) or models.get("$default")
        complaint = model.complaint(self._request.body) if model else None
        if complaint:
            raise RefusalError("BAD_REQUEST_BODY", validation=complaint)

    def _payload(self, integration: Integration) -> str:
        """What goes to the backend: the rendered template, or the body where that may pass."""
        template = integration.templates.get(self._request.media_type("content-type"))
        if template is not None:
            return self._render(template, self._request.body).text
        passes = integration.passthrough == "when_no_match" or (
            integration.passthrough == "when_no_templates" and not integration.templates
        )
        if not passes:
            raise RefusalError("UNSUPPORTED_MEDIA_TYPE")
        return self._request.body

    def _reply(self, integration: Integration, given: BackendReply) -> Reply:
        response = integration.response_for(given.status)
        if response is None:
            raise RefusalError(
                "API_CONFIGURATION_ERROR", because=f"no response is mapped for {given.status}"
            )
        content_type, rendered = self._answer_body(response, given)
        headers = {
            "Content-Type": content_type,
            "x-amzn-RequestId": self._context["requestId"],
            **self._mapped_headers(response, given),
            **rendered.headers,
        }
        status = rendered.status or response.status
        return Reply(status, tuple(headers.items()), rendered.text.encode(errors="replace"))

    def _answer_body(
        self, response: IntegrationResponse, given: BackendReply
    ) -> tuple[str, Rendered]:
        """Accept chooses the template, else JSON's, else the first; without one, as it came."""
        templates = response.templates
        wanted = (self._request.media_type("accept"), *templates)
        content_type = next((kind for kind in wanted if kind in templates), None)
        if content_type is None:
            return given.content_type, Rendered(given.body)
        return content_type, self._render(templates[content_type], given.body)

    def _mapped_headers(self, response: IntegrationResponse, given: BackendReply) -> dict[str, str]:
        """Response parameters: `method.response.header.X` ← a literal or a part of the answer."""
        sources = {target.rsplit(".", 1)[-1]: source for target, source in response.headers.items()}
        values = {name: self._header_value(source, given) for name, source in sources.items()}
        return {name: value for name, value in values.items() if value}

    def _header_value(self, source: str, given: BackendReply) -> str:
        if source.startswith("'"):
            return source[1:-1]
        place, _, rest = source.partition(".")
        if place == "context":
            return substitute(f"$context.{rest}", self._context)
        if place == "stageVariables":
            return self._gateway.stage.variables.get(rest, "")
        if rest.startswith("response.header."):
            return given.headers.get(rest.removeprefix("response.header."), "")
        if rest.startswith("response.body"):
            found = look_up(parse_json(given.body), "$" + rest.removeprefix("response.body"))
            return found if isinstance(found, str) else json.dumps(found)
        raise RefusalError("API_CONFIGURATION_ERROR", because=f"no such source: {source}")

    async def _answer_by_function(self, integration: Integration) -> Reply:
        event = proxy_event(
            self._request,
            self._route.resource,
            self._parameters["path"],
            context=self._context,
            stage_variables=self._gateway.stage.variables,
        )
        answer = await self._in_time(
            self._gateway.backend.invoke(integration.uri, json.dumps(event))
        )
        return proxy_reply(answer, self._context["requestId"])

    async def _in_time(self, call: Awaitable[BackendReply]) -> BackendReply:
        try:
            async with asyncio.timeout(self._route.integration.timeout_s):
                answer = await call
        except TimeoutError as error:
            raise RefusalError("INTEGRATION_TIMEOUT") from error
        except ConnectionError as error:
            raise RefusalError("INTEGRATION_FAILURE", because=str(error)) from error
        except UnknownIntegrationError as error:
            raise RefusalError("API_CONFIGURATION_ERROR", because=str(error)) from error
        return answer

    def _render(self, template: str, body: str) -> Rendered:
        try:
            return render(
                template,
                given=Input(body, self._parameters),
                context=self._context,
                stage_variables=self._gateway.stage.variables,
            )
        except MappingError as error:
            raise RefusalError("API_CONFIGURATION_ERROR", because=str(error)) from error


def _mock(payload: str) -> BackendReply:
    """A MOCK integration: the rendered template says which response is meant."""
    try:
        status = int(parse_json(payload)["statusCode"])
    except (ValueError, TypeError, KeyError) as error:
        raise RefusalError("API_CONFIGURATION_ERROR", because="a mock needs a status") from error
    return BackendReply(status=status, headers={}, body="")
