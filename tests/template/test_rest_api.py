"""infra/openapi.yaml: routes, and the mapping templates as a VTL library renders them."""

import json
from functools import partial
from typing import Any

import botocore.session
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV30SpecValidator

from infra import openapi
from infra.local.intrinsics import Resource, Surroundings
from infra.local.mapping import Input, Rendered, render

ROUTES = {
    ("/express-instance", "post"),
    ("/standard-instance", "post"),
    ("/executions/{name}", "get"),
    ("/watch-tokens", "post"),
}
MACHINES = {"/express-instance": "ExpressMachine", "/standard-instance": "StandardMachine"}
ACTIONS = {"/express-instance": "StartSyncExecution", "/standard-instance": "StartExecution"}
# Step Functions' errors, all told as HTTP 400: what its service model documents for the two
# actions, and of its "Common errors" those that a client can do something about.
REFUSALS = {
    "ExecutionAlreadyExists": (409, "execution_already_exists"),
    "ExecutionDoesNotExist": (404, "execution_not_found"),
    "ExecutionLimitExceeded": (429, "too_many_requests"),
    "ThrottlingException": (429, "too_many_requests"),
    "RequestEntityTooLargeException": (413, "request_too_large"),
    **dict.fromkeys(
        ["InvalidExecutionInput", "InvalidName", "ValidationException", "SerializationException"],
        (400, "invalid_input"),
    ),
    **dict.fromkeys(
        [
            *("StateMachineDoesNotExist", "StateMachineDeleting", "StateMachineTypeNotSupported"),
            *("KmsAccessDeniedException", "KmsInvalidStateException", "KmsThrottlingException"),
            *("InvalidArn", "AccessDeniedException", "SomethingNew", ""),
        ],
        (500, "internal_error"),
    ),
}
NASTY = "it's \"quoted\" \u2028 \\ /\n\t\x01 é 😀 \\' $x ${y} #set($a=1) #end ##c #*x*#"

# No lone surrogates: they are not text, and a request cannot hold them in UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
bodies = st.fixed_dictionaries(
    {"instance_id": st.from_regex(r"i-([0-9a-f]{8}|[0-9a-f]{17})", fullmatch=True)},
    optional={
        "action": st.sampled_from(["toggle", "start", "stop"]),
        "name": st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True),
        "note": json_values,
    },
)


def operations(api: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method): operation
        for path, item in api["paths"].items()
        for method, operation in item.items()
    }


def integration(api: dict[str, Any], path: str, method: str = "post") -> dict[str, Any]:
    found: dict[str, Any] = api["paths"][path][method]["x-amazon-apigateway-integration"]
    return found


def fill(template: str, payload: object) -> Rendered:
    """`template` as API Gateway would fill it for a JSON payload."""
    body = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    nothing: dict[str, dict[str, str]] = {"path": {}, "querystring": {}, "header": {}}
    return render(template, given=Input(body, nothing), context={}, stage_variables={})


def request(api: dict[str, Any], path: str, body: object) -> dict[str, Any]:
    """What Step Functions gets for a body."""
    template = integration(api, path)["requestTemplates"]["application/json"]["Fn::Sub"]
    filled = template.replace(f"${{{MACHINES[path]}}}", "arn:machine")
    sent: dict[str, Any] = json.loads(fill(filled, body).text)
    return sent


def response(api: dict[str, Any], path: str, pattern: str, payload: object) -> tuple[int, Any]:
    """(status, body) that a client gets for an answer of Step Functions."""
    chosen = integration(api, path)["responses"][pattern]
    rendered = fill(chosen["responseTemplates"]["application/json"], payload)
    return rendered.status or int(chosen["statusCode"]), json.loads(rendered.text)


def run(status: str, **fields: str) -> dict[str, str]:
    """StartSyncExecution's answer."""
    return {"status": status, "executionArn": "arn:run", **fields}


failed = partial(run, "FAILED")


def test_what_is_deployed_is_what_the_source_says() -> None:
    """openapi.yaml is written by `make openapi`, never by hand."""
    assert openapi.WRITTEN.read_text() == openapi.expand()


def test_a_validator_accepts_the_document(api: dict[str, Any], template: dict[str, Any]) -> None:
    """It is OpenAPI 3.0 once CloudFormation has resolved its intrinsics."""
    functions = {"ExecutionsFunction", "WatchTokensFunction"}
    known = {name: Resource("AWS::Lambda::Function", name) for name in functions}
    known["RestApiRole"] = Resource("AWS::IAM::Role", "role")
    machines = {
        name: Resource("AWS::StepFunctions::StateMachine", name) for name in MACHINES.values()
    }
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "0"}
    pseudo["AWS::StackName"] = "statuswire"
    parameters = {"DashboardOrigin": template["Parameters"]["DashboardOrigin"]["Default"]}
    near = Surroundings(parameters, known | machines, {}, pseudo)
    OpenAPIV30SpecValidator(near.resolve(api)).validate()


def test_the_routes_are_those_of_the_contract(api: dict[str, Any]) -> None:
    """Each path has its one method, and OPTIONS for browsers."""
    preflights = {(path, "options") for path, _ in ROUTES}
    assert operations(api).keys() == ROUTES | preflights


def test_no_content_type_passes_through(api: dict[str, Any]) -> None:
    """A body that no template fits would reach Step Functions raw, for any machine it names."""
    for (path, method), operation in operations(api).items():
        behavior = operation["x-amazon-apigateway-integration"]["passthroughBehavior"]
        assert behavior == "never", f"{method} {path}"


@pytest.mark.parametrize("path", MACHINES)
def test_what_has_a_template_is_validated(api: dict[str, Any], path: str) -> None:
    """A Content-Type with a template and no model would skip the validation of the body."""
    operation = api["paths"][path]["post"]
    name = operation["x-amazon-apigateway-request-validator"]
    validators = api["x-amazon-apigateway-request-validators"]
    assert validators[name] == {"validateRequestBody": True, "validateRequestParameters": True}
    templates = operation["x-amazon-apigateway-integration"]["requestTemplates"]
    assert operation["requestBody"]["required"] is True
    assert templates.keys() == operation["requestBody"]["content"].keys() == {"application/json"}


def test_every_route_but_the_preflights_needs_iam(api: dict[str, Any]) -> None:
    """Browsers send preflights unsigned; all else is signed."""
    scheme = api["components"]["securitySchemes"]["sigv4"]
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"
    for (path, method), operation in operations(api).items():
        expected: object = None if method == "options" else [{"sigv4": []}]
        assert operation.get("security") == expected, f"{method} {path}"


def test_every_answer_lets_the_dashboard_read_it(api: dict[str, Any]) -> None:
    """Integrations, preflights and the gateway's own refusals name the one origin."""
    origin = {"Fn::Sub": "'${DashboardOrigin}'"}
    for (path, method), operation in operations(api).items():
        found = operation["x-amazon-apigateway-integration"]
        for answer in found.get("responses", {}).values():
            header = "method.response.header.Access-Control-Allow-Origin"
            assert answer["responseParameters"][header] == origin, f"{method} {path}"
    for kind, answer in api["x-amazon-apigateway-gateway-responses"].items():
        header = "gatewayresponse.header.Access-Control-Allow-Origin"
        assert answer["responseParameters"][header] == origin, kind


def test_every_mapped_status_and_header_is_declared(api: dict[str, Any]) -> None:
    """API Gateway refuses to import a mapping that its method does not declare."""
    for (path, method), operation in operations(api).items():
        for answer in operation["x-amazon-apigateway-integration"].get("responses", {}).values():
            declared = operation["responses"][answer["statusCode"]]
            headers = {name.rpartition(".")[2] for name in answer["responseParameters"]}
            assert headers <= declared["headers"].keys(), f"{method} {path}"


def test_the_gateway_refuses_in_the_shape_of_all_errors(api: dict[str, Any]) -> None:
    """No logic there: messageString arrives as a JSON string, validationErrorString would not."""
    answers = api["x-amazon-apigateway-gateway-responses"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "BAD_REQUEST_BODY", "UNSUPPORTED_MEDIA_TYPE"} <= set(
        answers
    )
    for answer in answers.values():
        template = answer["responseTemplates"]["application/json"]
        assert "validationErrorString" not in template
        body = json.loads(template.replace("$context.error.messageString", '"why"'))
        assert body == {"error": body["error"], "message": "why"}


@pytest.mark.parametrize("path", MACHINES)
@given(body=bodies)
@example(body={"instance_id": "i-12345678", "note": NASTY})
def test_any_body_reaches_the_machine_unchanged(
    api: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    """The input is the whole body, whatever its strings hold; the name goes along when given."""
    sent = request(api, path, body)
    assert json.loads(sent.pop("input")) == body
    named = {"name": body["name"]} if "name" in body else {}
    assert sent == {"stateMachineArn": "arn:machine", **named}


@given(output=json_values)
def test_the_output_is_answered_unchanged(api: dict[str, Any], output: Any) -> None:
    """200 with what the workflow said."""
    answer = run("SUCCEEDED", output=json.dumps(output))
    assert response(api, "/express-instance", "default", answer) == (200, output)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (failed(error="InvalidInput", cause="no"), 400, "invalid_input"),
        (failed(error="InstanceNotFound", cause="no"), 404, "instance_not_found"),
        (failed(error="InstanceStateConflict", cause="no"), 409, "instance_state_conflict"),
        (failed(error="RequestLimitExceeded", cause="no"), 429, "too_many_requests"),
        (failed(error="NotPermitted", cause="no"), 502, "not_permitted"),
        (failed(error="InsufficientCapacity", cause="no"), 502, "insufficient_capacity"),
        (failed(error="VolumeKeyUnusable", cause="no"), 502, "volume_key_unusable"),
        (failed(error="Ec2.Ec2Exception", cause="no"), 502, "workflow_failed"),
        (failed(error="States.Runtime"), 502, "workflow_failed"),
        (failed(), 502, "workflow_failed"),
        (run("ABORTED"), 502, "workflow_failed"),
        (run("TIMED_OUT", error="States.Timeout", cause="late"), 504, "workflow_timed_out"),
        (run("TIMED_OUT", error="InvalidInput"), 504, "workflow_timed_out"),
        (run("TIMED_OUT"), 504, "workflow_timed_out"),
    ],
)
def test_a_run_that_failed_is_an_error(
    api: dict[str, Any], answer: dict[str, str], status: int, code: str
) -> None:
    """StartSyncExecution answers 200 even then, with or without error and cause."""
    told, body = response(api, "/express-instance", "default", answer)
    assert (told, body["error"], body["executionArn"]) == (status, code, "arn:run")
    assert body["message"] == answer.get("cause", body["message"]) != ""


@given(cause=texts.filter(bool))
@example(cause=NASTY)
@example(cause="'\"\\\u2028" * 8192)
def test_any_cause_comes_out_as_it_is(api: dict[str, Any], cause: str) -> None:
    """Quotes, line ends, control characters, 32 KiB: valid JSON that says the same."""
    answer = run("FAILED", error="X", cause=cause)
    _, body = response(api, "/express-instance", "default", answer)
    assert body == {"error": "workflow_failed", "message": cause, "executionArn": "arn:run"}


@pytest.mark.parametrize("path", MACHINES)
def test_no_error_of_the_service_model_is_forgotten(path: str) -> None:
    """What botocore knows of the action has its row in the table."""
    service = botocore.session.get_session().get_service_model("stepfunctions")
    errors = {shape.name for shape in service.operation_model(ACTIONS[path]).error_shapes}
    assert errors
    assert errors <= REFUSALS.keys()


@pytest.mark.parametrize("path", MACHINES)
@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("prefix", ["", "com.amazonaws.swf.service.v2.model#"])
def test_a_refusal_of_step_functions_has_its_status(
    api: dict[str, Any], path: str, prefix: str, name: str
) -> None:
    """All come as 400; only the name tells them apart. Nothing of their message gets out."""
    refusal = {"__type": prefix + name, "message": NASTY}
    told, body = response(api, path, "4(?!13)\\d{2}", refusal)
    assert (told, body["error"]) == REFUSALS[name]
    assert NASTY not in body["message"] != ""


@pytest.mark.parametrize(
    ("pattern", "payload", "retry_after"),
    [
        ("default", failed(error="RequestLimitExceeded"), {"Retry-After": "1"}),
        ("default", failed(error="InstanceNotFound"), {}),
        ("default", run("SUCCEEDED", output="{}"), {}),
        ("4(?!13)\\d{2}", {"__type": "ExecutionLimitExceeded"}, {"Retry-After": "1"}),
        ("4(?!13)\\d{2}", {"__type": "ThrottlingException"}, {"Retry-After": "1"}),
        ("4(?!13)\\d{2}", {"__type": "InvalidName"}, {}),
    ],
)
def test_too_many_requests_says_when_to_try_again(
    api: dict[str, Any], pattern: str, payload: dict[str, str], retry_after: dict[str, str]
) -> None:
    """And no other answer does."""
    chosen = integration(api, "/express-instance")["responses"][pattern]
    rendered = fill(chosen["responseTemplates"]["application/json"], payload)
    assert rendered.headers == retry_after


@pytest.mark.parametrize("path", MACHINES)
def test_a_service_that_fails_is_a_bad_gateway(api: dict[str, Any], path: str) -> None:
    """Whatever its body is: the template reads nothing of it."""
    told, body = response(api, path, "5\\d{2}", "<html>")
    assert (told, body["error"]) == (502, "step_functions_unavailable")


@pytest.mark.parametrize("path", MACHINES)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example(name='x", "stateMachineArn": "arn:other')
def test_no_name_can_choose_another_machine(api: dict[str, Any], path: str, name: str) -> None:
    """Not even one that the model should have refused."""
    sent = request(api, path, {"name": name})
    assert (sent["stateMachineArn"], sent["name"]) == ("arn:machine", name)


def test_a_started_run_says_where_to_ask(api: dict[str, Any]) -> None:
    """202 with the execution and a Location below the same stage."""
    chosen = integration(api, "/standard-instance")["responses"]["default"]
    arn = "arn:aws:states:us-east-1:123456789012:execution:statuswire-standard:run-1"
    started = {"executionArn": arn, "startDate": 1719236481.123}
    rendered = fill(chosen["responseTemplates"]["application/json"], started)
    assert chosen["statusCode"] == "202"
    assert json.loads(rendered.text) == started
    assert rendered.headers == {"Location": "executions/run-1"}
