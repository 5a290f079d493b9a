"""The runs that the embedded AWS plays, once more by the rules of AWS.

It passes over expressions that yield nothing and over the order of assignments; this does not.
"""

from collections import Counter

import pytest

from tests.e2e.cases import CASES, Case
from tests.machine.conftest import Play
from tests.machine.interpreter import Answer, Call
from tests.machine.services import Queue

MACHINES = {"express": "ExpressMachine", "standard": "StandardMachine"}


class Scripted:
    """A case's answers, attempt by attempt, the last for all that follow; beside them a queue."""

    def __init__(self, case: Case) -> None:
        self.queue = Queue()
        self._answers, self._attempts = case.answers, Counter[str]()

    def __call__(self, call: Call) -> Answer:
        if call.state not in self._answers:
            return self.queue(call)
        told = self._answers[call.state]
        answer = told[min(self._attempts[call.state], len(told) - 1)]
        self._attempts[call.state] += 1
        thrown = answer.get("Throw", {})
        return Answer(answer.get("Return"), thrown.get("Error"), thrown.get("Cause"))


@pytest.mark.parametrize(
    ("machine", "key"),
    [(MACHINES[case.machine], key) for key, case in CASES.items()],
    indirect=["machine"],
)
def test_a_run_ends_as_it_must_and_tells_it(play: Play, key: str) -> None:
    """Its end, its reason, and each of its steps once, numbered with holes where one was lost."""
    case = CASES[key]
    service = Scripted(case)
    run = play(case.input, service)
    assert (run.status, run.error) == ("FAILED" if case.error else "SUCCEEDED", case.error)
    assert "States.QueryEvaluationError" not in {error for _, error in run.faults}
    messages = service.queue.messages
    assert tuple(message["status"] for message in messages) == case.told, run.cause
    numbers = [message["execution"]["seq"] for message in messages]
    assert not set(numbers) & set(case.lost)
    assert set(numbers) | set(case.lost) == set(range(1, len(numbers) + len(case.lost) + 1))
    if case.error:
        assert case.cause in str(run.cause)
    else:
        assert (run.output["changed"], run.output["input"]) == (case.changed, case.input)
