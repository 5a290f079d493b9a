"""One task goes on in each pass of the loop, whoever gives up."""

import asyncio

from consumer.line import Line


async def _passes(line: Line, count: int) -> list[int]:
    """In which pass of the loop each of so many tasks had its turn."""
    now = 0
    had: list[int] = []

    async def wait() -> None:
        await line.turn()
        had.append(now)

    tasks = [asyncio.create_task(wait()) for _ in range(count)]
    while len(had) < count:
        await asyncio.sleep(0)
        now += 1
    await asyncio.gather(*tasks)
    return had


async def test_each_has_a_pass_of_its_own() -> None:
    """First come, first served; and what else is due comes in between."""
    had = await _passes(Line(), 10)
    assert had == sorted(set(had))


async def test_who_is_alone_waits_for_nobody() -> None:
    """One request costs one pass more, however many came before."""
    line = Line()
    await _passes(line, 10)
    async with asyncio.timeout(5):
        await line.turn()


async def test_who_gave_up_takes_nobodys_turn() -> None:
    """Who is gone while it waits leaves the others where they are, and the line goes on."""
    line = Line()
    tasks = [asyncio.create_task(line.turn()) for _ in range(6)]
    await asyncio.sleep(0)
    for task in (tasks[0], tasks[1], tasks[3], tasks[5]):
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(tasks[2], tasks[4])
        await line.turn()
