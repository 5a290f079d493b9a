"""statemachines/instance.asl.json, as each of the two machines gets it."""

import json
import re
from typing import Any

import botocore.session
import pytest

EVENT_FIELDS = {
    *("v", "id", "source", "instance_id", "execution", "state"),
    *("status", "time", "terminal", "reason", "detail"),
}
EXECUTION_FIELDS = {"arn", "name", "machine"}  # seq and redrive join them in each step
PUBLISH = "arn:aws:states:::sqs:sendMessage"
MAX_PUBLISH_COST_S = 5
HISTORY_LIMIT = 25_000  # events of one Standard execution (Step Functions quotas)
REST_TIMEOUT_S = 29  # API Gateway's integration timeout (its quotas)

State = dict[str, Any]


@pytest.fixture
def states(definition: dict[str, Any]) -> dict[str, State]:
    found: dict[str, State] = definition["States"]
    return found


@pytest.fixture
def publishes(states: dict[str, State]) -> dict[str, State]:
    return {name: state for name, state in states.items() if state.get("Resource") == PUBLISH}


def test_every_placeholder_has_a_substitution(
    machine: dict[str, Any], definition_text: str
) -> None:
    """Step Functions would take a forgotten one literally; one too many is a leftover."""
    placeholders = set(re.findall(r"\$\{(\w+)\}", definition_text))
    assert placeholders == machine["DefinitionSubstitutions"].keys()


def test_the_name_of_the_machine_is_its_kind(machine: dict[str, Any]) -> None:
    """Events say express or standard; the two must not be swapped."""
    assert machine["DefinitionSubstitutions"]["Machine"] == machine["Type"].lower()


def test_every_state_goes_on_or_ends(states: dict[str, State]) -> None:
    """Choices have a Default, since a run that matches none dies of States.NoChoiceMatched."""
    for name, state in states.items():
        if state["Type"] == "Choice":
            assert "Default" in state, name
        elif state["Type"] != "Fail":
            assert ("Next" in state) != bool(state.get("End")), name


def test_every_task_catches_everything(states: dict[str, State]) -> None:
    """What is not caught ends the run without a word in the queue."""
    tasks = {name: state for name, state in states.items() if state["Type"] == "Task"}
    assert tasks
    for name, task in tasks.items():
        assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_every_publish_step_tells_a_whole_event(
    states: dict[str, State], publishes: dict[str, State]
) -> None:
    """All fields of the contract, each time; a status and a terminal that are literal."""
    assert states["Begin"]["Assign"]["execution"].keys() == EXECUTION_FIELDS
    for name, state in publishes.items():
        event = state["Arguments"]["MessageBody"]
        assert event.keys() == EVENT_FIELDS, name
        assert "$merge([$execution, {'seq': $seq, 'redrive':" in event["execution"], name
        assert "action" in event["detail"], name
        assert (event["v"], event["source"]) == (1, "workflow"), name


def test_only_endings_are_terminal(publishes: dict[str, State]) -> None:
    """After the two terminal events nothing is published."""
    events = [state["Arguments"]["MessageBody"] for state in publishes.values()]
    ends = [event["status"] for event in events if event["terminal"]]
    assert sorted(ends) == ["FAILED", "SUCCEEDED"]
    others = {event["status"] for event in events if not event["terminal"]}
    assert others == {"WAITING", "CHECKING", "STARTING", "STOPPING", "VERIFYING"}


def test_publishing_never_changes_where_a_run_goes(publishes: dict[str, State]) -> None:
    """A failed publish counts its attempt and goes on as if it had not failed."""
    for name, state in publishes.items():
        (catch,) = state["Catch"]
        assert catch["Next"] == state["Next"], name
        assert catch["Assign"] == state["Assign"], name
        assert state["Assign"]["seq"] == "{% $seq + 1 %}", name


def test_a_failed_publish_costs_a_run_little(publishes: dict[str, State]) -> None:
    """All attempts and the pauses between them together."""
    for name, state in publishes.items():
        (retry,) = state["Retry"]
        pauses = sum(
            retry["IntervalSeconds"] * retry.get("BackoffRate", 2) ** n
            for n in range(retry["MaxAttempts"])
        )
        cost_s = state["TimeoutSeconds"] * (retry["MaxAttempts"] + 1) + pauses
        assert cost_s <= MAX_PUBLISH_COST_S, name


def test_publish_steps_differ_only_in_what_they_tell(publishes: dict[str, State]) -> None:
    """The definition repeats itself, since ASL has no functions; it must not drift apart."""
    common = set()
    for state in publishes.values():
        arguments = json.loads(json.dumps(state["Arguments"]))
        for field in ("status", "terminal", "reason", "detail"):
            del arguments["MessageBody"][field]
        kept = {"Arguments": arguments, "Retry": state["Retry"], "T": state["TimeoutSeconds"]}
        common.add(json.dumps(kept))
    assert len(common) == 1


def test_ids_fit_into_sqs(machine: dict[str, Any], states: dict[str, State]) -> None:
    """The group is the machine and the execution's name (80) or UUID; SQS takes 128."""
    group = f"{machine['DefinitionSubstitutions']['Machine']}." + "n" * 80
    assert states["Begin"]["Assign"]["group"].startswith(f"{{% '{group.partition('.')[0]}.'")
    redrives, sequence = "9" * 4, str(HISTORY_LIMIT)
    assert len(f"{group}.{redrives}.{sequence}") <= 128


def test_the_longest_cause_fits_into_an_event(states: dict[str, State]) -> None:
    """JSON escapes a control character with six bytes; 1 KiB is left for the other fields."""
    cuts = []
    for state in states.values():
        for catch in state.get("Catch", []):
            cuts += re.findall(r"Cause & '', 0, (\d+)\)", json.dumps(catch.get("Assign", {})))
    assert len(cuts) == 4, "one for each call of EC2"
    assert max(map(int, cuts)) * len(json.dumps("\x01").strip('"')) <= 15 * 1024


def test_assignments_of_one_assign_are_independent(states: dict[str, State]) -> None:
    """AWS evaluates all of them from the old values, so one must not use another's new one."""
    for name, state in states.items():
        for way in (state, *state.get("Choices", []), *state.get("Catch", [])):
            assigned = way.get("Assign", {})
            for variable, expression in assigned.items():
                others = assigned.keys() - {variable}
                used = set(re.findall(r"\$(\w+)", json.dumps(expression)))
                assert not used & others, f"{name}.{variable}"


def test_an_express_run_times_out_before_its_caller(
    machine: dict[str, Any], definition: dict[str, Any]
) -> None:
    """Its own TIMED_OUT names the execution; API Gateway's would not."""
    if machine["Type"] == "EXPRESS":
        assert definition["TimeoutSeconds"] < REST_TIMEOUT_S


def test_a_standard_run_outlives_its_deadline(
    machine: dict[str, Any], definition: dict[str, Any], template: dict[str, Any]
) -> None:
    """With the largest parameters there is time left to tell TargetStateTimeout."""
    if machine["Type"] == "STANDARD":
        most = {name: p.get("MaxValue", 0) for name, p in template["Parameters"].items()}
        loops = 2 * (most["DeadlineSeconds"] + most["VerifyIntervalSeconds"])
        assert definition["TimeoutSeconds"] >= most["DelaySeconds"] + loops + 5 * 60


def test_the_longest_run_stays_within_its_history(template: dict[str, Any]) -> None:
    """A look is a Wait (2 events), a Task (5) and a Choice (2); passing states take two of them."""
    parameters = template["Parameters"]
    looks = (
        parameters["DeadlineSeconds"]["MaxValue"] / parameters["VerifyIntervalSeconds"]["MinValue"]
    )
    assert looks * (2 + 5 + 2 + 2) + looks * (2 + 5 + 2) < HISTORY_LIMIT - 1_000


def test_what_ends_the_hope_is_what_ends_it_for_ec2s_own_waiters(states: dict[str, State]) -> None:
    """The failures of InstanceRunning and InstanceStopped, from botocore's copy of EC2's model.

    An instance that is not found is asked for again by InstanceRunning, and an error to the other.
    """
    waiters = botocore.session.get_session().get_waiter_model("ec2")
    expected = {}
    for target, waiter in (("running", "InstanceRunning"), ("stopped", "InstanceStopped")):
        acceptors = waiters.get_waiter(waiter).acceptors
        fatal = {a.expected for a in acceptors if a.state == "failure"}
        retried = any(a.matcher == "error" and a.state == "retry" for a in acceptors)
        expected[target] = fatal if retried else fatal | {"absent"}
    condition = states["CompareWithTarget"]["Choices"][1]["Condition"]
    found = re.search(r"\$target = 'running' \? \[(.*?)\] : \[(.*?)\]", condition)
    assert found is not None
    named = [set(re.findall(r"'([\w-]+)'", names)) for names in found.groups()]
    assert named == [expected["running"], expected["stopped"]]
