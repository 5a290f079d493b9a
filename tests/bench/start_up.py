"""From the process's start to /readyz: 200, against the mock, and where the time goes.

The log is new each time. Stages come from a process of their own that does the same in a row.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from infra.local.child import Child
from infra.local.places import HOST, ROOT, Ports
from tests.bench import processor, rows
from tests.bench.mock_sqs import MockSqs, mock_sqs
from tests.bench.programs import compiled
from tests.bench.queue_contestants import PRODUCT, product_environment
from tests.bench.rows import Row

SCENARIO: Final = "start-up"
LOOK_S: Final = 0.002  # ready is noticed that much later on average
READY_S: Final = 60.0
IMPORT: Final = "ms of import"
PACKAGES: Final = 12  # those that take the longest to import are told
REQUEST: Final = b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


async def is_ready(port: int) -> bool:
    """Whether the consumer there answers 200. Not aiohttp, which would need longer than this."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(REQUEST)
        status = await reader.readline()
        writer.close()
    except OSError:
        return False
    return b" 200 " in status


async def start_once(mock: MockSqs, folder: Path, **settings: str) -> dict[str, float]:
    """Start a consumer and end it as soon as it is ready: how long that took, and its CPU.

    Raises `TimeoutError`.
    """
    port = Ports().settle().consumer
    environment = product_environment(mock, folder, STATUSWIRE_PORT=str(port), **settings)
    begun_s = time.monotonic()
    child = await Child.start(
        PRODUCT.command, output=folder / "consumer.log", environment=environment, cwd=ROOT
    )
    try:
        processor.pin(child.pid, processor.CONTESTANT)
        async with asyncio.timeout(READY_S):
            while not await is_ready(port):  # noqa: ASYNC110 # it tells in no other way
                await asyncio.sleep(LOOK_S)
        took_ms = (time.monotonic() - begun_s) * 1e3
        return {"ms to ready": took_ms, "CPU ms to ready": processor.cpu_us(child.pid) / 1e3}
    finally:
        await child.kill()


def stages_ms(environment: dict[str, str]) -> dict[str, float]:
    """What `start_stages` takes for each step."""
    told: dict[str, float] = json.loads(_run("-m", "tests.bench.start_stages", env=environment))
    return told


def imports_ms(environment: dict[str, str]) -> dict[str, float]:
    """What the modules of each package take to be imported, without what these import.

    Wall-clock time, and the tracing itself costs a third: for who compares packages.
    """
    took_us: Counter[str] = Counter()
    told = _run("-X", "importtime", "-c", "import consumer.daemon", env=environment)
    for line in told.splitlines():
        own_us, _, name = line.removeprefix("import time:").split("|")
        if own_us.strip().isdecimal():
            took_us[name.strip().partition(".")[0]] += int(own_us)
    return {name: us / 1e3 for name, us in took_us.items()}


def _run(*words: str, env: dict[str, str]) -> str:
    command = ["taskset", "-c", str(processor.CONTESTANT), sys.executable, *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout or done.stderr


async def run(count: int, seconds: float) -> list[Row]:
    """So many starts, each followed by some that tell its stages; `seconds` says nothing here."""
    del seconds
    processor.pin(0, processor.LOAD)
    figures: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="statuswire-bench-") as name:
        top = Path(name)
        async with mock_sqs(compiled("mock_sqs", top), top / "mock.log", rate=0) as mock:
            await start_once(mock, _new_folder(top, -1))  # Python keeps what it compiles
            for number in range(count):
                folder = _new_folder(top, number)
                whole = await start_once(mock, folder)
                log = f"sqlite:{folder / 'stages.db'}"
                environment = product_environment(mock, folder, STATUSWIRE_LOG=log)
                found = {(PRODUCT.name, measure): figure for measure, figure in whole.items()}
                found |= {(stage, "CPU ms"): ms for stage, ms in stages_ms(environment).items()}
                found |= {(of, IMPORT): ms for of, ms in imports_ms(environment).items()}
                for of, figure in found.items():
                    figures.setdefault(of, []).append(figure)
    found_rows = [Row(SCENARIO, *of, found) for of, found in figures.items()]
    imports = [row for row in found_rows if row.measure == IMPORT]
    imports.sort(key=lambda row: sum(row.figures), reverse=True)
    return [row for row in found_rows if row.measure != IMPORT] + imports[:PACKAGES]


def _new_folder(top: Path, number: int) -> Path:
    folder = top / str(number)
    folder.mkdir()
    return folder


if __name__ == "__main__":
    rows.tell(run, PRODUCT.name)
