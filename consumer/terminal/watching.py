"""Watching, until something is reached, the time is up, or for ever."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from consumer.client.items import Item, Snapshot, Status
from consumer.terminal.addresses import Wanted
from consumer.terminal.exits import Exit
from consumer.terminal.feed import feed
from consumer.terminal.goal import Goal, Outcome
from consumer.terminal.place import Place, open_place
from consumer.terminal.presenters import Presenter, choose

EVERYTHING: Final = ("*",)


class Watch(Struct, frozen=True):
    """What to watch and how to show it. `timeout_s` None: for ever; `since` None: what stands.

    `has_just_begun`: that nobody has told of it yet is nothing odd.
    """

    patterns: Sequence[str]
    until: Sequence[str] = ()
    timeout_s: float | None = None
    since: str | None = None
    as_json: bool = False
    is_quiet: bool = False
    has_just_begun: bool = False

    def goal(self) -> Goal | None:
        """Raises `BadGoal`."""
        return Goal(self.patterns, self.until) if self.until else None


async def watch(where: Wanted, wanted: Watch) -> Exit:
    """Raises `CannotGoOn`."""
    async with open_place(where) as place:
        return await watch_at(place, wanted)


async def watch_at(place: Place, wanted: Watch) -> Exit:
    """Raises `CannotGoOn`."""
    goal = wanted.goal()
    watched = ", ".join(map(_short, wanted.patterns))
    title = f"{watched}  ({place.addresses.told_by})"
    presenter = choose(title, as_json=wanted.as_json, is_quiet=wanted.is_quiet)
    outcome: Outcome | None = None
    try:
        async with (
            asyncio.timeout(wanted.timeout_s),
            presenter,
            aclosing(feed(place, wanted.patterns, wanted.since)) as items,
        ):
            remarks = not wanted.has_just_begun
            outcome = await follow(items, presenter, goal, tells_unheard=remarks)
    except TimeoutError:
        code = Exit.TIMED_OUT
    else:
        code = Exit.DONE if outcome and outcome.is_reached else Exit.OTHERWISE
    presenter.end(code, outcome)
    return code


async def follow(
    items: AsyncIterator[Item],
    presenter: Presenter,
    goal: Goal | None,
    *,
    tells_unheard: bool = True,
) -> Outcome | None:
    """Shows what is told, and returns when the goal is decided."""
    async for each in items:
        presenter.show(each)
        if goal is None:
            continue
        outcome = None
        if isinstance(each, Snapshot):
            outcome = goal.snapshot(each.events)
            if tells_unheard and (unheard := goal.unheard):
                presenter.remark(f"Not heard of yet: {', '.join(unheard)}. Waiting for it.")
        elif isinstance(each, Status):
            outcome = goal.hear(each.event, is_late=each.late)
        if outcome:
            return outcome
    return None


def _short(pattern: str) -> str:
    """An ARN is longer than a line; its name is at its end."""
    kind, _, what = pattern.partition(":")
    return f"{kind}:…:{what.rpartition(':')[2]}" if what.startswith("arn:") else pattern
