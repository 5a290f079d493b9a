"""The examples of docs/clients.md, as they stand there."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Final

from consumer import client
from tests.core import examples
from tests.edges.conftest import Service, service

_ = service  # a fixture

ROOT: Final = Path(__file__).parents[2]
ADDRESS: Final = "ws://127.0.0.1:8080/v1/status"
PATIENCE_S: Final = 30.0
TEXT: Final = (ROOT / "docs" / "clients.md").read_text()


async def _told(program: str, service: Service, last: str | None) -> list[str]:
    """What an example prints, until it ends or has printed what it is to print of two events."""
    assert ADDRESS in program
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", program.replace(ADDRESS, service.url)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    told: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while not any(each.session.is_idle for each in service.hub.clients):  # noqa: ASYNC110 # of another process
            await asyncio.sleep(0.01)
        await service.log.append([examples.step(1), examples.step(2, "SUCCEEDED")])
        async for line in process.stdout:
            told.append(line.decode().strip())
            if told[-1] == last:
                break
    if last is not None:
        process.terminate()
    await process.wait()
    return told


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


async def test_the_first_example_runs(service: Service) -> None:
    """It tells what is known, and each step."""
    told = await _told(_examples()[0], service, "run-1 SUCCEEDED")
    assert told == ["0 executions are known", "run-1 CHECKING", "run-1 SUCCEEDED"]


async def test_the_blocking_example_runs(service: Service) -> None:
    """It ends by itself, with the first execution that does."""
    assert await _told(_examples()[1], service, None) == ["SUCCEEDED"]


def test_every_item_and_error_is_documented() -> None:
    """Whatever a stream can yield or raise."""
    types = {"Event", "Execution", "Item"}
    assert [name for name in client.__all__ if name not in types and name not in TEXT] == []
