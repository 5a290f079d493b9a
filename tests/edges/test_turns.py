"""What all clients together may do before everything else has its turn."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from consumer.edges.turns import TURN_S, Turns


class Bench:
    """Turns by a clock that only acts move, and a note of what happened in which order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns = Turns(lambda: self.now_s)
        self.seen: list[str] = []

    def act(self, name: str, takes_s: float = 0.0, then: Callable[[], None] | None = None) -> Any:
        def act() -> None:
            self.seen.append(name)
            self.now_s += takes_s
            if then is not None:
                then()

        return act


async def test_one_turn_is_no_longer_however_many_wait() -> None:
    """Else an event would wait for all of them at each of its steps."""
    bench = Bench()
    for name in "abcd":
        bench.turns.ask(bench.act(name, TURN_S * 0.6))
    asyncio.get_running_loop().call_soon(bench.seen.append, "event")
    for _ in range(3):
        await asyncio.sleep(0)
    assert bench.seen == ["a", "b", "event", "c", "d"]


async def test_what_is_quick_shares_a_turn() -> None:
    """A thousand answers to pings need no thousand turns of the loop."""
    bench = Bench()
    for number in range(1_000):
        bench.turns.ask(bench.act(str(number)))
    await asyncio.sleep(0)
    assert len(bench.seen) == 1_000


async def test_whoever_asks_again_comes_behind_the_others() -> None:
    """One that always has more to say holds nobody up."""
    bench = Bench()

    def again() -> None:
        if len(bench.seen) < 4:
            bench.turns.ask(flood)

    flood = bench.act("flood", TURN_S, again)
    bench.turns.ask(flood)
    bench.turns.ask(bench.act("honest", TURN_S))
    for _ in range(8):
        await asyncio.sleep(0)
    assert bench.seen == ["flood", "honest", "flood", "flood"]


async def test_one_that_fails_leaves_the_others_in_line() -> None:
    """Its error is the loop's to report."""
    bench = Bench()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def fail() -> None:
        raise RuntimeError

    bench.turns.ask(bench.act("fails", 0.0, fail))
    bench.turns.ask(bench.act("next"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert bench.seen == ["fails", "next"]
    assert isinstance(told[0]["exception"], RuntimeError)


async def test_nobody_in_line_is_no_work() -> None:
    """The loop sleeps."""
    bench = Bench()
    bench.turns.ask(bench.act("only"))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    assert bench.seen == ["only"]
