"""The graphs that the dashboard draws are those of the machines that are deployed."""

import json
from typing import Any

from infra import graphs

Definition = dict[str, Any]


def test_the_dashboard_has_the_definition_as_it_is() -> None:
    """Run `make graphs` after a change of the definition."""
    assert graphs.WRITTEN.read_text() == graphs.expand()


def test_names_only_states_of_the_machine(definition: Definition) -> None:
    """Each machine's graph is a part of its definition, with the same beginning."""
    drawn = graphs.graphs(graphs.DEFINITION.read_text())
    for graph in drawn.values():
        assert graph["startAt"] == definition["StartAt"]
        for state in graph["states"]:
            assert state["type"] == definition["States"][state["name"]]["Type"]


def test_standard_has_every_state_and_express_those_it_can_reach(definition: Definition) -> None:
    """Conditions on the machine's name are decided when it is deployed."""
    drawn = graphs.graphs(graphs.DEFINITION.read_text())
    names = {machine: {s["name"] for s in graph["states"]} for machine, graph in drawn.items()}
    assert names["standard"] == definition["States"].keys()
    lacking = names["standard"] - names["express"]
    assert {"PublishWaiting", "PassingState", "PublishVerifying", "VerifyInstance"} <= lacking
    assert {"DescribeInstance", "StartInstance", "PublishSucceeded", "Failed"} <= names["express"]


def test_what_is_always_so_hides_what_stands_below_it() -> None:
    """A choice that is decided ends the list, one that is ruled out is no way."""
    choices = [
        {"Condition": "{% 'standard' = 'express' and $x %}", "Next": "Never"},
        {"Condition": "{% '${Machine}' = 'standard' and $x %}", "Next": "Maybe"},
        {"Condition": "{% '${Machine}' = 'standard' %}", "Next": "Always"},
        {"Condition": "{% $y %}", "Next": "Hidden"},
    ]
    ends = {name: {"Type": "Succeed"} for name in ("Never", "Maybe", "Always", "Hidden", "Else")}
    choice = {"Type": "Choice", "Choices": choices, "Default": "Else"}
    text = json.dumps({"StartAt": "Ask", "States": {"Ask": choice, **ends}})
    (ask, *_) = graphs.graphs(text)["standard"]["states"]
    assert [arrow["to"] for arrow in ask["next"]] == ["Maybe", "Always"]
    (ask, *_) = graphs.graphs(text)["express"]["states"]
    assert [arrow["to"] for arrow in ask["next"]] == ["Hidden", "Else"]
