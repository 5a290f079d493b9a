"""Apache Velocity 1.7, which API Gateway seems to run, makes of each template what ours does.

JSON is compared as JSON: how a service writes its spaces and numbers is not the template's doing.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.local.mapping import Input, render
from tests.machine.lines import Lines
from tests.template.conftest import api
from tests.template.test_rest_api import (
    MACHINES,
    NASTY,
    REFUSALS,
    bodies,
    integration,
    run,
    texts,
)

__all__ = ["api"]

ERRORS = (
    *("InvalidInput", "InstanceNotFound", "InstanceStateConflict", "RequestLimitExceeded"),
    *("NotPermitted", "InsufficientCapacity", "VolumeKeyUnusable", "Ec2.Ec2Exception"),
    *("States.Timeout", "States.Runtime"),
)
# Numbers that every JSON parser keeps as they are: ours and Java's differ beyond.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e300, 1e300, allow_subnormal=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
valid = st.builds(lambda body, note: {**body, "note": note}, bodies, json_values)
# The models take no name that is not a string, which the two engines would print differently.
others = st.dictionaries(texts.filter(lambda key: key != "name"), json_values)
MANY = settings(max_examples=1_000, deadline=None)


@dataclass(frozen=True)
class Told:
    """A template's text as JSON, and what it overrode."""

    body: Any
    status: int | None
    headers: dict[str, str]


def by_velocity(velocity: Lines, template: str, body: str) -> Told:
    answer = velocity.ask(template=template, body=body)
    assert "problem" not in answer, answer
    return Told(json.loads(answer["text"]), answer.get("status"), answer["headers"])


def by_us(template: str, body: str) -> Told:
    nothing: dict[str, dict[str, str]] = {"path": {}, "querystring": {}, "header": {}}
    filled = render(template, given=Input(body, nothing), context={}, stage_variables={})
    return Told(json.loads(filled.text), filled.status, dict(filled.headers))


def both(velocity: Lines, template: str, payload: Any) -> tuple[Told, Told]:
    body = json.dumps(payload, ensure_ascii=False)
    return by_velocity(velocity, template, body), by_us(template, body)


def answer_template(api: dict[str, Any], path: str, pattern: str) -> str:
    responses = integration(api, path)["responses"]
    return str(responses[pattern]["responseTemplates"]["application/json"])


@pytest.mark.parametrize("path", MACHINES)
@MANY
@given(body=valid | others)
@example(body={"instance_id": "i-12345678", "note": NASTY, "name": "x"})
def test_a_request(velocity: Lines, api: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    """Bodies within the model, and any others."""
    template = integration(api, path)["requestTemplates"]["application/json"]["Fn::Sub"]
    filled = template.replace(f"${{{MACHINES[path]}}}", "arn:machine")
    real, ours = both(velocity, filled, body)
    for told in (real, ours):
        told.body["input"] = json.loads(told.body["input"])
    assert real == ours
    assert real.body["input"] == body


@MANY
@given(output=json_values)
def test_the_answer_of_a_run_that_succeeded(
    velocity: Lines, api: dict[str, Any], output: Any
) -> None:
    """Its output as it is."""
    answer = run("SUCCEEDED", output=json.dumps(output, ensure_ascii=False))
    real, ours = both(velocity, answer_template(api, "/express-instance", "default"), answer)
    assert real == ours == Told(output, None, {})


@MANY
@given(
    status=st.sampled_from(["FAILED", "TIMED_OUT", "ABORTED"]),
    told=st.fixed_dictionaries(
        {}, optional={"error": st.sampled_from(ERRORS) | texts, "cause": texts}
    ),
)
@example(status="FAILED", told={"error": "InvalidInput", "cause": NASTY})
@example(status="FAILED", told={"error": "X", "cause": "'\"\\\u2028" * 8192})
def test_the_answer_of_a_run_that_failed(
    velocity: Lines, api: dict[str, Any], status: str, told: dict[str, str]
) -> None:
    """Each documented error and any other, with any cause or none."""
    answer = run(status, **told)
    real, ours = both(velocity, answer_template(api, "/express-instance", "default"), answer)
    assert real == ours


@pytest.mark.parametrize("path", MACHINES)
@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("prefix", ["", "com.amazonaws.swf.service.v2.model#"])
def test_a_refusal(velocity: Lines, api: dict[str, Any], path: str, prefix: str, name: str) -> None:
    """Every error of Step Functions, and one without a name."""
    for refusal in ({"__type": prefix + name, "message": NASTY}, {"Message": NASTY}):
        real, ours = both(velocity, answer_template(api, path, "4(?!13)\\d{2}"), refusal)
        assert real == ours


@pytest.mark.parametrize("path", MACHINES)
def test_a_service_that_fails(velocity: Lines, api: dict[str, Any], path: str) -> None:
    """Its own answer is not even read."""
    real, ours = both(velocity, answer_template(api, path, "5\\d{2}"), "<html>")
    assert real == ours


def test_a_run_that_was_started(velocity: Lines, api: dict[str, Any]) -> None:
    """With its address in a header, and a date with a fraction."""
    arn = "arn:aws:states:us-east-1:123456789012:execution:statuswire-standard:run-1"
    started = {"executionArn": arn, "startDate": 1719236481.123}
    real, ours = both(velocity, answer_template(api, "/standard-instance", "default"), started)
    assert real == ours == Told(started, None, {"Location": "executions/run-1"})


def test_it_is_velocity_that_answers(velocity: Lines) -> None:
    """A comparison of one engine with itself would find nothing: these two differ here."""
    assert velocity.ask(template="#set($a = true)$a", body="")["text"] == "true"
    assert (
        "twice"
        in velocity.ask(template="#set($context.responseOverride.status = 1)" * 2, body="")[
            "problem"
        ]
    )
