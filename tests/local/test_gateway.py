"""One request through an API: what API Gateway checks, maps and refuses."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.local.api import read_api
from infra.local.backend import BackendReply
from infra.local.exchange import Reply, Request, Stage
from infra.local.gateway import Gateway

ACTION = "arn:aws:apigateway:us-east-1:states:action/StartExecution"
FUNCTION = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:f/invocations"

RUN: dict[str, Any] = {
    "x-amazon-apigateway-request-validator": "all",
    "requestBody": {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/R"}}}
    },
    "x-amazon-apigateway-integration": {
        "type": "aws",
        "uri": ACTION,
        "passthroughBehavior": "never",
        "requestTemplates": {"application/json": "{\"got\": $input.json('$.id')}"},
        "responses": {
            "default": {
                "statusCode": "202",
                "responseParameters": {
                    "method.response.header.A": "'literal'",
                    "method.response.header.B": "integration.response.body.arn",
                    "method.response.header.C": "integration.response.header.X-Given",
                },
                "responseTemplates": {"application/json": "arn=$input.path('$.arn')"},
            },
            "4\\d{2}": {
                "statusCode": "400",
                "responseTemplates": {
                    "application/json": "#set($context.responseOverride.status = 409)no"
                },
            },
        },
    },
}
READ: dict[str, Any] = {
    "x-amazon-apigateway-request-validator": "all",
    "parameters": [{"name": "deep", "in": "query", "required": True}],
    "x-amazon-apigateway-integration": {
        "type": "aws_proxy",
        "uri": FUNCTION,
        "timeoutInMillis": 50,
    },
}
PREFLIGHT: dict[str, Any] = {
    "x-amazon-apigateway-integration": {
        "type": "mock",
        "requestTemplates": {"application/json": '{"statusCode": 204}'},
        "responses": {
            "204": {
                "statusCode": "204",
                "responseParameters": {"method.response.header.Allow": "'POST'"},
            }
        },
    }
}
BODY: dict[str, Any] = {
    "x-amazon-apigateway-request-validators": {
        "all": {"validateRequestBody": True, "validateRequestParameters": True}
    },
    "paths": {"/runs": {"post": RUN, "options": PREFLIGHT}, "/runs/{name}": {"get": READ}},
    "components": {
        "schemas": {
            "R": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "pattern": "^i-[0-9$]$"},
                    "many": {"type": "array", "minItems": 1, "maxItems": 1},
                },
            }
        }
    },
    "x-amazon-apigateway-gateway-responses": {
        "BAD_REQUEST_BODY": {
            "statusCode": 422,
            "responseParameters": {"gatewayresponse.header.Origin": "'*'"},
            "responseTemplates": {
                "application/json": '{"why": $context.error.messageString,'
                ' "how": "$context.error.validationErrorString"}'
            },
        },
        "DEFAULT_4XX": {"responseTemplates": {"application/json": '{"error": "refused"}'}},
    },
}


class FakeBackend:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self, reply: BackendReply) -> None:
        self.reply = reply
        self.asked: list[tuple[str, Any]] = []

    async def call_action(self, uri: str, payload: str) -> BackendReply:
        self.asked.append((uri, json.loads(payload)))
        return self.reply

    async def invoke(self, uri: str, event: str) -> BackendReply:
        return await self.call_action(uri, event)


class SilentBackend(FakeBackend):
    """Never answers."""

    async def call_action(self, uri: str, payload: str) -> BackendReply:
        await asyncio.Event().wait()
        raise AssertionError


class AbsentBackend(FakeBackend):
    """Cannot be reached."""

    async def call_action(self, uri: str, payload: str) -> BackendReply:
        raise ConnectionError("refused")


ARN = BackendReply(200, {"X-Given": "given"}, '{"arn": "arn:1"}')


async def answer(backend: FakeBackend, request: Request) -> Reply:
    stage = Stage(name="live", api_id="abc", account="0")
    return await Gateway(read_api(BODY), stage, backend).answer(request)


def run(body: str, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "/runs", headers=tuple(named.items()), body=body)


def header(reply: Reply, name: str) -> str | None:
    return dict(reply.headers).get(name)


async def test_a_valid_body_is_mapped_to_the_service_and_back() -> None:
    """The request template makes the call, the default response the answer."""
    backend = FakeBackend(ARN)
    reply = await answer(backend, run('{"id": "i-1"}'))
    assert backend.asked == [(ACTION, {"got": "i-1"})]
    assert (reply.status, reply.body) == (202, b"arn=arn:1")
    assert [header(reply, name) for name in "ABC"] == ["literal", "arn:1", "given"]


async def test_a_refusal_of_the_service_takes_the_response_of_its_status() -> None:
    """The pattern is matched against the service's status, and the template has the last word."""
    reply = await answer(FakeBackend(BackendReply(400, {}, "{}")), run('{"id": "i-1"}'))
    assert (reply.status, reply.body) == (409, b"no")


@pytest.mark.parametrize(
    "body",
    [
        *("", "{nope", "[]", "{}", '{"id": 5}', '{"id": "x"}', "[" * 9999),
        '{"id": "i-1\\n"}',
        '{"id": "i-1", "big": 1e999}',
        '{"id": "i-1", "half": "\\ud800"}',
        '{"id": "i-1", "bytes": "\udcff"}',
    ],
)
async def test_a_body_outside_of_the_model_reaches_nobody(body: str) -> None:
    """It gets the gateway response for bad bodies, with its status and headers."""
    backend = FakeBackend(ARN)
    reply = await answer(backend, run(body))
    assert (reply.status, header(reply, "Origin"), backend.asked) == (422, "*", [])


async def test_the_length_of_a_list_is_not_checked() -> None:
    """An import of OpenAPI leaves minItems and maxItems out of the model."""
    for many in ([], [1, 2]):
        body = json.dumps({"id": "i-1", "many": many})
        assert (await answer(FakeBackend(ARN), run(body))).status == 202


async def test_a_pattern_ends_where_the_text_ends() -> None:
    """ECMA 262 has no `$` before a last line end; one inside of a class is a dollar."""
    assert (await answer(FakeBackend(ARN), run('{"id": "i-$"}'))).status == 202
    assert (await answer(FakeBackend(ARN), run('{"id": "i-$\\n"}'))).status == 422


async def test_a_complaint_is_worded_as_aws_does() -> None:
    """The string comes without escapes: between quotes it is a trap, and must be one here."""
    reply = await answer(FakeBackend(ARN), run("{}"))
    assert reply.body.decode() == (
        '{"why": "Invalid request body",'
        ' "how": "[object has missing required properties (["id"])]"}'
    )


async def test_an_unexpected_content_type_never_passes() -> None:
    """With passthrough `never` it is 415, though no model was asked."""
    backend = FakeBackend(ARN)
    reply = await answer(backend, run("{}", Content_Type="text/plain"))
    assert (reply.status, json.loads(reply.body), backend.asked) == (415, {"error": "refused"}, [])


async def test_the_parameters_of_a_content_type_do_not_matter() -> None:
    """`application/json; charset=utf-8` is application/json."""
    typed = run('{"id": "i-1"}', Content_Type="Application/JSON; charset=utf-8")
    assert (await answer(FakeBackend(ARN), typed)).status == 202


async def test_no_content_type_is_that_of_json() -> None:
    """So its body is validated, and mapped."""
    assert (await answer(FakeBackend(ARN), run('{"id": "i-1"}'))).status == 202
    assert (await answer(FakeBackend(ARN), run("{}"))).status == 422


async def test_two_content_types_reach_nobody_unvalidated() -> None:
    """One of them counts, for the model as for the template."""
    for kinds in (("text/plain", "application/json"), ("application/json", "text/plain")):
        backend = FakeBackend(ARN)
        headers = tuple(("Content-Type", kind) for kind in kinds)
        reply = await answer(backend, Request("POST", "/runs", headers=headers, body="{}"))
        assert reply.status in (415, 422)
        assert backend.asked == []


@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*"])
async def test_any_accept_gets_the_one_template_there_is(accept: str) -> None:
    """Where Accept names no template, the first is taken; nothing comes out unmapped."""
    reply = await answer(FakeBackend(ARN), run('{"id": "i-1"}', Accept=accept))
    assert (reply.body, header(reply, "Content-Type")) == (b"arn=arn:1", "application/json")


@pytest.mark.parametrize("request_", [Request("GET", "/nowhere"), Request("PUT", "/runs")])
async def test_an_unknown_route_lacks_a_token(request_: Request) -> None:
    """API Gateway says 403 to what it does not know."""
    assert (await answer(FakeBackend(ARN), request_)).status == 403


async def test_a_preflight_is_answered_by_the_api_itself() -> None:
    """A mock integration asks no backend."""
    backend = FakeBackend(ARN)
    reply = await answer(backend, Request("OPTIONS", "/runs"))
    assert (reply.status, header(reply, "Allow"), backend.asked) == (204, "POST", [])


READ_ONE = Request("GET", "/runs/a%3Ab", query=(("deep", "1"),), headers=(("X-A", "1"),))


def function_answers(answer_: Mapping[str, Any]) -> FakeBackend:
    return FakeBackend(BackendReply(200, {}, json.dumps(answer_)))


async def test_a_function_gets_the_proxy_event() -> None:
    """Path and parameters are still encoded, as a REST API hands them on."""
    backend = function_answers({"statusCode": 200})
    await answer(backend, READ_ONE)
    ((uri, event),) = backend.asked
    assert uri == FUNCTION
    assert (event["resource"], event["path"]) == ("/runs/{name}", "/runs/a%3Ab")
    assert event["pathParameters"] == {"name": "a%3Ab"}
    assert event["queryStringParameters"] == {"deep": "1"}
    assert event["multiValueHeaders"] == {"X-A": ["1"]}
    assert event["requestContext"]["resourcePath"] == "/runs/{name}"
    assert event["requestContext"]["identity"]["userArn"] == "arn:aws:iam::0:user/local-run"
    assert event["body"] is None


async def test_a_function_writes_its_own_answer() -> None:
    """Status, headers (several of a name, too) and body."""
    multi = {"statusCode": 404, "headers": {"A": "1"}, "multiValueHeaders": {"B": ["2", "3"]}}
    reply = await answer(function_answers({**multi, "body": "no"}), READ_ONE)
    assert (reply.status, reply.body) == (404, b"no")
    assert [pair for pair in reply.headers if pair[0] in "AB"] == [
        ("A", "1"),
        ("B", "2"),
        ("B", "3"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        BackendReply(200, {}, "null"),
        BackendReply(200, {}, '{"body": "no status"}'),
        BackendReply(200, {}, '{"statusCode": 200}', failed=True),
        BackendReply(500, {}, "{}"),
    ],
)
async def test_a_function_that_fails_is_a_bad_gateway(given: BackendReply) -> None:
    """Whatever it said, the client hears 502 and no more."""
    reply = await answer(FakeBackend(given), READ_ONE)
    assert (reply.status, json.loads(reply.body)) == (502, {"message": "Internal server error"})


async def test_a_required_parameter_is_required() -> None:
    """Its absence is 400, and the function is not asked."""
    backend = FakeBackend(ARN)
    assert (await answer(backend, Request("GET", "/runs/a"))).status == 400
    assert backend.asked == []


@pytest.mark.parametrize("backend", [SilentBackend(ARN), AbsentBackend(ARN)])
async def test_a_backend_that_does_not_answer_is_a_gateway_timeout(backend: FakeBackend) -> None:
    """In time or at all."""
    assert (await answer(backend, READ_ONE)).status == 504


async def test_an_answer_without_a_mapping_is_our_own_fault() -> None:
    """A template that cannot be rendered is 500, as API Gateway has it."""
    reply = await answer(FakeBackend(BackendReply(200, {}, "not JSON")), run('{"id": "i-1"}'))
    assert reply.status == 500
