"""Whatever fails, hangs or is lost, and whatever comes in: what always holds of a run."""

import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.core.events import decode
from tests.e2e.cases import ACTIONS, STATES
from tests.machine.conftest import Play
from tests.machine.interpreter import Run
from tests.machine.services import BECOMES, INSTANCE, Fault, Instance, World

LONG = "LONG" in os.environ
TOLD_AFTER_S = 23  # what docs/workflows.md promises of an Express run
# Characters; Step Functions API reference, ExecutionFailedEventDetails.
MAX_ERROR, MAX_CAUSE = 256, 32_768
MAX_INPUT = 60_000

lives = st.builds(
    Instance,
    state=st.sampled_from(STATES),
    passes_s=st.sampled_from([0, 1, 20, 40, 10_000]),
    becomes=st.sampled_from(
        [BECOMES, BECOMES | {"pending": "stopped"}, BECOMES | {"pending": "terminated"}]
    ),
)
faults = st.lists(st.sampled_from(["none", *get_args(Fault)]), max_size=80)
errors = st.sampled_from(["Ec2.Ec2Exception", "Ec2.SdkClientException", "States.TaskFailed"])
causes = st.sampled_from(["", "no answer", "\x01" * 40_000, "😀" * 40_000, "é\u2028'\"\\" * 9_000])
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
ids = st.just(INSTANCE) | st.from_regex(r"\Ai-[0-9a-f]{7,18}\n?\Z") | json_values
inputs = json_values | st.fixed_dictionaries(
    {},
    optional={"instance_id": ids, "action": st.sampled_from(ACTIONS) | json_values, "name": texts},
)


def check_what_it_told(run: Run, world: World) -> None:
    """It ended by itself and said so, in its last step and in no other; no number was left out, and
    none is missing but those of publishes that failed.
    """
    assert run.status in {"SUCCEEDED", "FAILED"}, run
    assert "States.QueryEvaluationError" not in {error for _, error in run.faults}
    # Attempts at one step are repeats of one message.
    steps = [step for step, _ in groupby(world.tried)]
    assert [step["execution"]["seq"] for step in steps] == list(range(1, len(steps) + 1))
    *others, last = steps
    assert not any(step["terminal"] for step in others)
    assert (last["terminal"], last["status"]) == (True, run.status)
    reason = {"error": run.error, "cause": run.cause} if run.status == "FAILED" else None
    assert last["reason"] == reason
    assert len(run.error or "") <= MAX_ERROR
    assert len(run.cause or "") <= MAX_CAUSE
    messages = world.queue.messages
    assert {message["execution"]["seq"] for message in messages} == world.arrived
    assert len({message["id"] for message in messages}) == len(messages)
    assert len(world.queue.groups) <= 1
    for message in messages:
        decode(json.dumps(message, ensure_ascii=False))  # raises where the consumer would refuse


@settings(max_examples=3_000 if LONG else 100, deadline=None)
@given(life=lives, action=st.sampled_from(ACTIONS), faults=faults, error=errors, cause=causes)
def test_every_run_ends_by_itself_and_tells_it(
    play: Play, life: Instance, action: str, faults: list[Fault], error: str, cause: str
) -> None:
    """Whatever instance it meets, and whatever becomes of each attempt of each task."""
    world = World(life, faults=faults, error=error, cause=cause)
    run = play({"instance_id": INSTANCE, "action": action}, world)
    check_what_it_told(run, world)


@pytest.mark.parametrize("machine", ["StandardMachine"], indirect=True)
@settings(deadline=None)
@given(life=lives, action=st.sampled_from(ACTIONS), faults=faults)
def test_a_standard_run_that_succeeds_has_done_it(
    play: Play, life: Instance, action: str, faults: list[Fault]
) -> None:
    """The instance is where it was to be, and the output says so."""
    run = play({"instance_id": INSTANCE, "action": action}, World(life, faults=faults))
    if run.status == "SUCCEEDED":
        toggled = {"stopped": "running", "running": "stopped"}
        wanted = {"start": "running", "stop": "stopped"}.get(action)
        wanted = wanted or toggled[run.output["previous_state"]]
        assert (run.output["state"], life.at(run.duration_s)) == (wanted, wanted)


@settings(max_examples=3_000 if LONG else 100, deadline=None)
@given(body=inputs)
@example(body={"instance_id": INSTANCE, "note": "x" * 59_000})
@example(body={"instance_id": INSTANCE, "note": "\U0001f600" * 61_000})
@example(body={"instance_id": INSTANCE, "note": "x" * 261_990})
def test_only_valid_input_gets_past_the_first_states(play: Play, body: Any) -> None:
    """Any JSON may come in by another way than the REST API."""
    world = World(Instance("terminated"))
    run = play(body, world)
    check_what_it_told(run, world)
    fields = body if isinstance(body, dict) else {}
    small = len(json.dumps(body, ensure_ascii=False, separators=(",", ":"))) <= MAX_INPUT
    known = small and re.fullmatch(r"i-([0-9a-f]{8}|[0-9a-f]{17})", str(fields.get("instance_id")))
    valid = known and fields.get("action", "toggle") in ACTIONS
    found = "InstanceStateConflict" if known and known[0] == INSTANCE else "InstanceNotFound"
    assert run.error == (found if valid else "InvalidInput")


def every_plan(outcomes: list[Fault], attempts: Callable[[list[Fault]], int]) -> Iterator[None]:
    """Goes through all that may become of all attempts. `attempts` says how many a plan took."""
    plan: list[int] = []
    while True:
        taken = attempts([outcomes[n] for n in plan] + [outcomes[0]] * 100)
        yield
        plan = plan[:taken] + [0] * (taken - len(plan))
        while plan and plan[-1] == len(outcomes) - 1:
            plan.pop()
        if not plan:
            return
        plan[-1] += 1


@pytest.mark.parametrize("machine", ["ExpressMachine"], indirect=True)
@pytest.mark.parametrize("state", ["stopped", "running"])
def test_an_express_run_has_told_its_end_in_time(
    play: Play, definition: dict[str, Any], state: str
) -> None:
    """All that may become of its tasks, attempt by attempt: none takes it to its own timeout."""
    longest_s = 0.0

    def attempts(plan: list[Fault]) -> int:
        nonlocal longest_s
        left = iter(plan)
        world = World(Instance(state), faults=left)
        run = play({"instance_id": INSTANCE}, world)
        check_what_it_told(run, world)
        longest_s = max(longest_s, run.duration_s)
        return len(plan) - len(list(left))

    outcomes: list[Fault] = ["slow", "fails", "hangs"] if LONG else ["slow", "hangs"]
    for _ in every_plan(outcomes, attempts):
        pass
    assert longest_s == TOLD_AFTER_S < definition["TimeoutSeconds"]
