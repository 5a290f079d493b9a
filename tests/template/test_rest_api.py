"""infra/openapi.yaml: routes, and the mapping templates as a VTL library renders them."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.local.mapping import Input, Rendered, render

ROUTES = {
    ("/express-instance", "post"),
    ("/standard-instance", "post"),
    ("/executions/{name}", "get"),
}
MACHINES = {"/express-instance": "ExpressMachine", "/standard-instance": "StandardMachine"}
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
        (run("FAILED", error="InvalidInput", cause="no"), 400, "invalid_input"),
        (run("FAILED", error="InstanceNotFound", cause="no"), 404, "instance_not_found"),
        (run("FAILED", error="InstanceStateConflict", cause="no"), 409, "instance_state_conflict"),
        (run("FAILED", error="Ec2.Ec2Exception", cause="no"), 502, "workflow_failed"),
        (run("FAILED", error="States.Runtime"), 502, "workflow_failed"),
        (run("FAILED"), 502, "workflow_failed"),
        (run("TIMED_OUT", error="States.Timeout", cause="late"), 504, "workflow_timed_out"),
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
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ExecutionAlreadyExists", 409, "execution_already_exists"),
        ("ExecutionDoesNotExist", 404, "execution_not_found"),
        ("ExecutionLimitExceeded", 429, "too_many_requests"),
        ("ThrottlingException", 429, "too_many_requests"),
        ("InvalidExecutionInput", 400, "invalid_input"),
        ("InvalidName", 400, "invalid_input"),
        ("ValidationException", 400, "invalid_input"),
        ("StateMachineDoesNotExist", 500, "internal_error"),
        ("StateMachineDeleting", 500, "internal_error"),
        ("AccessDeniedException", 500, "internal_error"),
        ("KmsThrottlingException", 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "com.amazonaws.swf.service.v2.model#"])
def test_a_refusal_of_step_functions_has_its_status(
    api: dict[str, Any], path: str, prefix: str, name: str, status: int, code: str
) -> None:
    """All come as 400; only the name tells them apart. Nothing of their message gets out."""
    refusal = {"__type": prefix + name, "message": NASTY}
    told, body = response(api, path, "4\\d{2}", refusal)
    assert (told, body["error"]) == (status, code)
    assert NASTY not in body["message"] != ""


def test_a_started_run_says_where_to_ask(api: dict[str, Any]) -> None:
    """202 with the execution and a Location below the same stage."""
    chosen = integration(api, "/standard-instance")["responses"]["default"]
    arn = "arn:aws:states:us-east-1:123456789012:execution:statuswire-standard:run-1"
    started = {"executionArn": arn, "startDate": 1719236481.123}
    rendered = fill(chosen["responseTemplates"]["application/json"], started)
    assert chosen["statusCode"] == "202"
    assert json.loads(rendered.text) == started
    assert rendered.headers == {"Location": "executions/run-1"}
