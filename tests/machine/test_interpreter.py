"""The interpreter itself, by small definitions: each rule that the emulator does not keep."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.machine.interpreter import Answer, Call, Execution, Kind, Run, matches
from tests.machine.queries import Queries

Interpret = Callable[..., Run]
LAST = {"Choice", "Fail", "Succeed"}  # have no Next
TASK = {"Type": "Task", "Resource": "arn:a", "End": True}


@pytest.fixture
def interpret(queries: Queries) -> Interpret:
    def run(
        states: dict[str, Any],
        given: Any = None,
        service: Callable[[Call], Answer] = lambda _: Answer("done"),
        kind: Kind = "standard",
        **fields: Any,
    ) -> Run:
        """The first of the states is where it starts; each that does not end goes to the next."""
        names = [*states, ""]
        chained = {
            name: state if "End" in state or state["Type"] in LAST else {"Next": then, **state}
            for (name, state), then in zip(states.items(), names[1:], strict=True)
        }
        definition = {"QueryLanguage": "JSONata", "StartAt": names[0], "States": chained, **fields}
        return Execution(definition, kind, queries, service).run(given)

    return run


def answers(*told: Answer) -> Callable[[Call], Answer]:
    """One answer per attempt."""
    left = iter(told)
    return lambda _: next(left)


FAILS = Answer(error="Oops", cause="why")
HANGS = Answer(takes_s=1e9)


def test_one_assign_sees_only_the_variables_from_before(interpret: Interpret) -> None:
    """The example of AWS's page on variables: x takes a's value, and nextX the old x."""
    run = interpret(
        {
            "Given": {"Type": "Pass", "Assign": {"x": 3, "a": 6}},
            "Swap": {"Type": "Pass", "Assign": {"x": "{% $a %}", "nextX": "{% $x %}"}},
            "Told": {"Type": "Pass", "Output": ["{% $x %}", "{% $nextX %}"], "End": True},
        }
    )
    assert run.output == [6, 3]


def test_output_does_not_see_what_its_state_assigns(interpret: Interpret) -> None:
    """Assign and Output are evaluated side by side."""
    run = interpret(
        {
            "Given": {"Type": "Pass", "Assign": {"x": 1}},
            "Both": {"Type": "Pass", "Assign": {"x": 2}, "Output": "{% $x %}", "End": True},
        }
    )
    assert run.output == 1


@pytest.mark.parametrize(
    "expression", ["{% $states.input.missing %}", "{% $nobody %}", "{% $exists($nobody) %}"]
)
def test_what_yields_nothing_or_names_nothing_fails(interpret: Interpret, expression: str) -> None:
    """A null would be a value; nothing is an error, at any depth."""
    run = interpret({"A": {"Type": "Pass", "Output": {"deep": [expression]}, "End": True}}, {})
    assert (run.status, run.error) == ("FAILED", "States.QueryEvaluationError")
    assert "A/Output/deep/0" in str(run.cause)


def test_null_is_a_value(interpret: Interpret) -> None:
    """It is kept where it stands, and passed on."""
    run = interpret(
        {"A": {"Type": "Pass", "Output": "{% $states.input.x %}", "End": True}}, {"x": None}
    )
    assert (run.status, run.output) == ("SUCCEEDED", None)


@pytest.mark.parametrize(
    ("error", "names", "taken"),
    [
        ("Oops", ["States.ALL"], True),
        ("States.Timeout", ["States.ALL"], True),
        ("States.QueryEvaluationError", ["States.ALL"], True),
        ("States.DataLimitExceeded", ["States.ALL"], False),
        ("States.DataLimitExceeded", ["States.DataLimitExceeded"], True),
        ("States.Runtime", ["States.ALL"], False),
        ("States.Runtime", ["States.Runtime"], False),
        ("Oops", ["States.TaskFailed"], True),
        ("States.Timeout", ["States.TaskFailed"], False),
        ("Oops", ["oops"], False),
    ],
)
def test_a_wildcard_does_not_take_everything(error: str, names: list[str], taken: bool) -> None:
    """The reserved error names, as AWS's page on error handling tells them."""
    assert matches(error, names) is taken


def test_pauses_grow_up_to_their_bound(interpret: Interpret) -> None:
    """3 s, 6 s, then no more than 8 s; the fourth failure is one too many."""
    retry = {"ErrorEquals": ["Oops"], "IntervalSeconds": 3, "MaxDelaySeconds": 8}
    run = interpret({"A": {**TASK, "Retry": [retry]}}, service=answers(*[FAILS] * 4))
    assert (run.status, run.error, run.duration_s) == ("FAILED", "Oops", 3 + 6 + 8)


def test_each_retrier_counts_for_itself(interpret: Interpret) -> None:
    """A second kind of failure has attempts of its own."""
    once = {"IntervalSeconds": 1, "MaxAttempts": 1}
    retry = [{"ErrorEquals": ["Oops"], **once}, {"ErrorEquals": ["States.ALL"], **once}]
    run = interpret(
        {"A": {**TASK, "TimeoutSeconds": 5, "Retry": retry}},
        service=answers(FAILS, HANGS, Answer("late")),
    )
    assert (run.output, run.duration_s) == ("late", 1 + 5 + 1)


def test_a_retrier_that_is_used_up_leaves_the_error_to_the_catchers(interpret: Interpret) -> None:
    """The first retrier that takes an error decides; the next is not asked."""
    retry = [{"ErrorEquals": [name], "MaxAttempts": 0} for name in ("Oops", "States.ALL")]
    retry[1]["MaxAttempts"] = 5
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "B"}]
    states = {"A": {**TASK, "Retry": retry, "Catch": catch}, "B": {"Type": "Succeed"}}
    run = interpret(states, service=answers(FAILS))
    assert (run.visited, run.output) == (["A", "B"], {"Error": "Oops", "Cause": "why"})


def test_a_task_that_hangs_times_out_without_a_cause(interpret: Interpret) -> None:
    """$states.errorOutput has an Error alone."""
    catch = [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "B"}]
    states = {"A": {**TASK, "TimeoutSeconds": 7, "Catch": catch}, "B": {"Type": "Succeed"}}
    run = interpret(states, service=answers(HANGS))
    assert (run.output, run.duration_s) == ({"Error": "States.Timeout"}, 7)


def test_the_machines_own_timeout_ends_a_run(interpret: Interpret) -> None:
    """Nothing catches it."""
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "A"}]
    states = {"A": {**TASK, "TimeoutSeconds": 6, "Catch": catch}}
    run = interpret(states, service=lambda _: HANGS, TimeoutSeconds=10)
    assert (run.status, run.duration_s, run.visited) == ("TIMED_OUT", 10, ["A", "A"])


def test_waits_and_expressions_share_one_clock(interpret: Interpret) -> None:
    """$millis, EnteredTime and a Wait: nobody waits for real."""
    run = interpret(
        {
            "Before": {"Type": "Pass", "Assign": {"at": "{% $millis() %}"}},
            "Hour": {"Type": "Wait", "Seconds": "{% 60 * 60 %}"},
            "After": {
                "Type": "Pass",
                "Output": {
                    "passed": "{% $millis() - $at %}",
                    "same": "{% $toMillis($states.context.State.EnteredTime) = $millis() %}",
                },
                "End": True,
            },
        }
    )
    assert (run.output, run.duration_s) == ({"passed": 3_600_000, "same": True}, 3600)


def test_a_choice_takes_its_first_rule_and_no_other(interpret: Interpret) -> None:
    """The rule's own assignments come along."""
    rules = [
        {"Condition": "{% false %}", "Assign": {"x": 0}, "Next": "End"},
        {"Condition": "{% true %}", "Assign": {"x": 1}, "Next": "End"},
        {"Condition": "{% true %}", "Assign": {"x": 2}, "Next": "End"},
    ]
    end = {"Type": "Succeed", "Output": "{% $x %}"}
    run = interpret({"A": {"Type": "Choice", "Choices": rules, "Default": "End"}, "End": end})
    assert run.output == 1


@pytest.mark.parametrize(
    ("condition", "error"),
    [("{% 'true' %}", "States.QueryEvaluationError"), ("{% false %}", "States.NoChoiceMatched")],
)
def test_a_choice_wants_a_boolean_and_a_way_out(
    interpret: Interpret, condition: str, error: str
) -> None:
    """A text is no condition, and without a Default one rule must hold."""
    rules = [{"Condition": condition, "Next": "A"}]
    assert interpret({"A": {"Type": "Choice", "Choices": rules}}).error == error


def test_only_a_standard_run_counts_its_redrives(interpret: Interpret) -> None:
    """An Express run cannot be redriven, and nobody says that it has the field."""
    state = {
        "A": {"Type": "Pass", "Output": "{% $states.context.Execution.RedriveCount %}", "End": True}
    }
    assert interpret(state).output == 0
    assert interpret(state, kind="express").error == "States.QueryEvaluationError"


def test_a_result_that_is_too_large_escapes_every_wildcard(interpret: Interpret) -> None:
    """256 KiB, in bytes of UTF-8."""
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "A"}]
    states = {"A": {**TASK, "Output": "small", "Catch": catch}}
    run = interpret(states, service=lambda _: Answer("é" * 131_072))
    assert run.error == "States.DataLimitExceeded"


def test_a_field_that_it_does_not_know_is_refused(interpret: Interpret) -> None:
    """What it passed over would be tested by nothing."""
    with pytest.raises(AssertionError, match="HeartbeatSeconds"):
        interpret({"A": {**TASK, "HeartbeatSeconds": 1}})
