"""The rendered definitions, judged by what was not written here, and by the limits of AWS.

Two validators, since each has blind spots: of the Language Service's, JSONPath fields and broken
expressions; of asl-validator's, the bounds of a retrier.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.machine.node import Node
from tests.machine.queries import FUNCTIONS, expressions

VALIDATORS = ("languageService", "aslValidator")
# Step Functions' own, beside those of JSONata ("Transforming data with JSONata in Step Functions").
OWN_FUNCTIONS = {"partition", "range", "hash", "random", "uuid", "parse"}
# "Step Functions service quotas"; Amazon States Language specification, "States".
MAX_DEFINITION_BYTES = 1_000_000
MAX_STATE_NAME = 80
# "Passing data between states with variables": a Unicode identifier, as in Python.
MAX_VARIABLE_NAME = 80
# What JSONata states have no more, same page as the functions; and the fields that end in Path.
JSONPATH_FIELDS = re.compile(r"Parameters|ResultSelector|.*Path|.*\.\$")
ANY_ERROR = "States.ALL"

Definition = dict[str, Any]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as process:
        yield process


def problems(node: Node, validator: str, definition: Definition) -> Any:
    return node.ask(do=validator, text=json.dumps(definition, indent=2))


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value), however deep."""
    if isinstance(value, dict):
        yield from value.items()
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from pairs(inner)


def assigned(definition: Definition) -> set[str]:
    """All variables that some state gives a value."""
    return {name for key, value in pairs(definition["States"]) if key == "Assign" for name in value}


@pytest.mark.parametrize("validator", VALIDATORS)
def test_a_validator_accepts_the_definition(
    node: Node, definition: Definition, validator: str
) -> None:
    """For both machines, as they are deployed."""
    assert problems(node, validator, definition) == []


def dangle(states: Any) -> None:
    states["Begin"]["Next"] = "Nowhere"


def abandon(states: Any) -> None:
    states["Lost"] = {"Type": "Succeed"}


def misspell(states: Any) -> None:
    states["Begin"]["Asign"] = states["Begin"].pop("Assign")


def shrink_pauses(states: Any) -> None:
    states["StartInstance"]["Retry"][0]["BackoffRate"] = 0.5


def invent_jitter(states: Any) -> None:
    states["StartInstance"]["Retry"][0]["JitterStrategy"] = "SOME"


def break_expression(states: Any) -> None:
    states["Begin"]["Assign"]["seq"] = "{% 1 + %}"


def mix_languages(states: Any) -> None:
    states["StartInstance"]["InputPath"] = "$.instance_id"


@pytest.mark.parametrize(
    ("validator", "damage"),
    [
        *(
            (validator, damage)
            for validator in VALIDATORS
            for damage in (dangle, abandon, misspell)
        ),
        *(("languageService", damage) for damage in (shrink_pauses, invent_jitter)),
        *(("aslValidator", damage) for damage in (break_expression, mix_languages)),
    ],
)
def test_a_validator_finds_what_is_wrong(
    node: Node, definition: Definition, validator: str, damage: Callable[[Any], None]
) -> None:
    """Each of the two does look, and sees something that the other does not."""
    broken = copy.deepcopy(definition)
    damage(broken["States"])
    assert problems(node, validator, broken) != []


def test_every_expression_compiles(node: Node, definition: Definition) -> None:
    """With the JSONata that Step Functions runs, 2.0.6."""
    found = dict(expressions(definition))
    assert len(found) > 100
    answers = node.ask(do="compile", texts=list(found.values()))
    wrong = {place: a["problem"] for place, a in zip(found, answers, strict=True) if "problem" in a}
    assert wrong == {}


def test_a_broken_expression_is_named_with_its_place(node: Node) -> None:
    """Whoever broke it wants to know where."""
    found = dict(expressions({"States": {"A": {"Output": ["{% $x + %}"]}}}))
    assert list(found) == ["/States/A/Output/0"]
    assert "Unexpected end" in node.ask(do="compile", texts=list(found.values()))[0]["problem"]


def test_expressions_use_what_step_functions_gives_them(node: Node, definition: Definition) -> None:
    """Its functions, $states, and variables that some state assigns; no $, $$ or bare field.

    $eval is left out by AWS, and a name that stands alone would be a field of a context that a
    state does not have: definitions with one are refused.
    """
    known = FUNCTIONS | OWN_FUNCTIONS | assigned(definition) | {"states"}
    found = dict(expressions(definition))
    answers = node.ask(do="compile", texts=list(found.values()))
    used = {place: set(a["names"]) for place, a in zip(found, answers, strict=True)}
    assert {place: names - known for place, names in used.items() if names - known} == {}


def test_expressions_are_whole_strings(definition: Definition) -> None:
    """`{%` that is not the first sign of a string, or without its end, would be told as it is."""
    text = json.dumps(definition)
    count = len(list(expressions(definition)))
    assert (text.count("{%"), text.count("%}")) == (count, count)


def test_results_and_errors_are_used_where_they_are_known(definition: Definition) -> None:
    """AWS refuses $states.result outside of a task's own Assign and Output, and
    $states.errorOutput outside of a catcher's ("Passing data between states with variables").
    """
    for place, text in expressions(definition):
        _, _, state, *fields = place.split("/")
        if "$states.result" in text:
            assert definition["States"][state]["Type"] == "Task", place
            assert fields[0] in {"Assign", "Output"}, place
        if "$states.errorOutput" in text:
            assert fields[0] == "Catch", place
            assert fields[2] in {"Assign", "Output"}, place


def test_names_and_sizes_are_within_bounds(definition: Definition) -> None:
    """Of states, variables and the whole."""
    assert len(json.dumps(definition, indent=2)) < MAX_DEFINITION_BYTES
    assert all(len(name) <= MAX_STATE_NAME for name in definition["States"])
    variables = assigned(definition)
    assert all(name.isidentifier() and len(name) <= MAX_VARIABLE_NAME for name in variables)
    assert "states" not in variables


def test_no_field_is_of_the_other_query_language(definition: Definition) -> None:
    """A JSONata state with one is refused, and a key that ends in .$ would be sent as it is."""
    assert [key for key, _ in pairs(definition) if JSONPATH_FIELDS.fullmatch(key)] == []


def test_what_takes_any_error_stands_alone_and_last(definition: Definition) -> None:
    """As the specification wants it, and neither validator does."""
    for key, ways in pairs(definition["States"]):
        if key in {"Retry", "Catch"}:
            names = [way["ErrorEquals"] for way in ways]
            assert all(ANY_ERROR not in some for some in names[:-1])
            assert ANY_ERROR not in names[-1] or names[-1] == [ANY_ERROR]


def test_every_task_is_one_request(definition: Definition) -> None:
    """Express machines have no activities, and no .sync or .waitForTaskToken ("Standard and
    Express workflow types").
    """
    resources = {value for key, value in pairs(definition["States"]) if key == "Resource"}
    assert all(re.fullmatch(r"arn:aws:states:::[\w:-]+", resource) for resource in resources)
