"""What DescribeExecution's answers come to, and what is no answer."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from consumer.core.events import Event
from consumer.edges.aws import NotDescribed
from consumer.edges.executions import Executions
from tests.core import examples
from tests.edges.test_reconcile import QUIET_S, STOPPED, FakeStates, refusal


class Scene:
    def __init__(self) -> None:
        self.states = FakeStates()
        self.now_s = 0.0
        states: Any = self.states
        self.executions = Executions(states, QUIET_S, now_ms=lambda: 0, clock=lambda: self.now_s)

    def hear(self, event: Event, *, late: bool = False) -> None:
        self.executions.hear(examples.entry(1, event, late=late))


@pytest.mark.parametrize(
    "answer",
    [
        *(EndpointConnectionError(endpoint_url="x"), TimeoutError(), OSError("DNS")),
        *(refusal("ThrottlingException"), {}, {"status": "FAILED"}),
    ],
)
async def test_what_is_no_answer_says_nothing(answer: Any) -> None:
    """The network's failures, refusals, and answers to another question."""
    scene = Scene()
    scene.states.answers[examples.ARN] = answer
    scene.hear(examples.step())
    scene.now_s = QUIET_S
    with pytest.raises(NotDescribed, match="DescribeExecution"):
        await scene.executions.ending(examples.step())


async def test_who_spoke_while_others_were_asked_about_is_left_alone() -> None:
    """Its turn came, but it is not silent any more."""
    scene = Scene()
    scene.states.answers[examples.ARN] = {"status": "FAILED", "stopDate": STOPPED}
    scene.hear(examples.step())
    scene.now_s = QUIET_S
    (silent,) = scene.executions.silent()
    scene.hear(examples.step(2))
    assert await scene.executions.ending(silent) is None
    assert scene.states.asked == []


async def test_a_late_event_opens_nothing_that_has_ended() -> None:
    """It came after the ending, and went before it."""
    scene = Scene()
    scene.hear(examples.step(2, status="SUCCEEDED"))
    scene.hear(examples.step(1), late=True)
    scene.now_s = 10_000.0
    assert scene.executions.silent() == []
