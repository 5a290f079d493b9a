"""Where attacks are played: a victim and honest readers, each a process of its own."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from consumer.core.limits import Limits
from infra.local.child import Child
from infra.local.places import ROOT
from tests.attacks.attacks import Attack
from tests.attacks.victim import HOST
from tests.attacks.windows import Window
from tests.soak.crowd import resident_bytes


class Told(Struct, frozen=True):
    """What the victim says of itself."""

    counts: dict[str, int]
    window: Window
    """From when events were due to when they were on the sockets, since the last time."""
    cpu_s: float
    """Since it started."""


class Scene:
    """A victim under way, and those who read from it."""

    def __init__(self, port: int, told_on: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self._told_on = told_on
        self.peak_bytes = 0

    async def told(self) -> Told:
        """What the victim has counted so far, and measured since the last time."""
        reader, writer = await asyncio.open_connection(HOST, self._told_on)
        told: dict[str, Any] = json.loads(await reader.read())
        writer.close()
        window = msgspec.convert(told.pop("window"), Window)
        return Told(cpu_s=told.pop("cpu_s"), window=window, counts=told)

    async def play(self, attack: Attack, count: int, seconds: float, abreast: int) -> Counter[str]:
        """So many connections, and as many more as fit into so long; how they ended."""
        ends_s = time.monotonic() + seconds
        endings: Counter[str] = Counter()
        left = iter(range(count))

        async def attacker() -> None:
            while next(left, None) is not None or time.monotonic() < ends_s:
                try:
                    endings[await attack.one(self.port)] += 1
                except OSError:  # not even connected
                    endings["dropped"] += 1

        watching = asyncio.create_task(self._watch())
        await asyncio.gather(*(attacker() for _ in range(abreast)))
        watching.cancel()
        return endings

    async def _watch(self) -> None:
        self.peak_bytes = resident_bytes(self.pid)
        while True:
            self.peak_bytes = max(self.peak_bytes, resident_bytes(self.pid))
            await asyncio.sleep(0.1)


class Readers:
    """Honest ones, asked for their figures."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def window(self) -> Window:
        """Since the last time. Raises EOFError where one of them was closed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        if not (line := await self._process.stdout.readline()):
            raise EOFError("an honest reader was closed")
        return msgspec.json.decode(line, type=Window)


@asynccontextmanager
async def scene(
    folder: Path, limits: Limits, heartbeat_s: float, rate: float = 50.0, cores: str = ""
) -> AsyncIterator[Scene]:
    """A victim with these limits and so many events per second, on these cores."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 # nothing else runs yet
    output = folder / "victim.log"
    asked = msgspec.json.encode(limits).decode()
    child = await Child.start(
        [sys.executable, "-m", "tests.attacks.victim", folder, asked, str(rate),
         str(heartbeat_s), cores],
        output=output, environment={"PYTHONUNBUFFERED": "1"}, cwd=ROOT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while not (told := output.read_bytes()).endswith(b"}\n"):  # noqa: ASYNC110 # a file
                await asyncio.sleep(0.05)
        ports: dict[str, Any] = json.loads(told)
        yield Scene(ports["port"], ports["told_on"], child.pid)
    finally:
        await child.kill()


@asynccontextmanager
async def readers(port: int, count: int, cores: str = "") -> AsyncIterator[Readers]:
    """So many who watch everything, on these cores."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.attacks.readers", str(port), str(count), cores,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        yield Readers(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
