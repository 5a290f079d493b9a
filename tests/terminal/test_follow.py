"""What is shown of what is told, and when it is enough."""

from collections.abc import AsyncIterator

import pytest

from consumer.client.items import Item, Live, Snapshot, Status
from consumer.terminal.goal import Goal
from consumer.terminal.presenters import Silent
from consumer.terminal.watching import follow
from tests.terminal.telling import INSTANCE, OTHER, instance

THIS, THAT = f"instance:{INSTANCE}", f"instance:{OTHER}"


class Paper(Silent):
    """Keeps what it is to show."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.remarks: list[str] = []

    def show(self, item: Item) -> None:
        self.items.append(item)

    def remark(self, text: str) -> None:
        self.remarks.append(text)


async def told(*items: Item) -> AsyncIterator[Item]:
    for item in items:
        yield item


@pytest.fixture
def paper() -> Paper:
    return Paper()


async def test_what_decides_is_shown_and_nothing_after_it(paper: Paper) -> None:
    """A late event on the way decides nothing."""
    items = (
        Snapshot((instance("stopped"),), "e-1"),
        Live(),
        Status(instance("running"), late=True, cursor="e-2"),
        Status(instance("running", second=3), late=False, cursor="e-3"),
        Status(instance("stopping", second=4), late=False, cursor="e-4"),
    )
    outcome = await follow(told(*items), paper, Goal([THIS], ["running"]))
    assert outcome is not None
    assert outcome.event["id"] == items[3].event["id"]
    assert paper.items == list(items[:4])


async def test_what_nobody_has_heard_of_is_remarked(paper: Paper) -> None:
    """It may be misspelled; of what has just begun it is nothing odd."""
    stands = Snapshot((instance("stopped"),), "e-1")
    await follow(told(stands), paper, Goal([THIS, THAT], ["running"]))
    assert paper.remarks == [f"Not heard of yet: {THAT}. Waiting for it."]
    await follow(told(stands), paper, Goal([THAT], ["running"]), tells_unheard=False)
    assert len(paper.remarks) == 1


async def test_without_a_goal_everything_is_shown(paper: Paper) -> None:
    """Until it is interrupted."""
    items = (Snapshot((), "e-1"), Live(), Status(instance("running"), late=False, cursor="e-2"))
    assert await follow(told(*items), paper, None) is None
    assert paper.items == list(items)
