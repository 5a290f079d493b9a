"""From the process's start to /readyz: 200, against the mock, and where the time goes.

The log is new each time. Stages come from a process of their own that does the same in a row.
"""

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from infra.local.places import HOST, ROOT, Ports
from tests.bench.goals import OURS, Goal
from tests.bench.mock_sqs import MockSqs, mock_sqs
from tests.bench.pinned import Cores, Pinned
from tests.bench.receivers import CONSUMER, consumer_environment
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import Sample

LOOK_S: Final = 0.002  # ready is noticed that much later on average
READY_S: Final = 60.0
PACKAGES: Final = 10  # those that take the longest to import are told
REQUEST: Final = b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


def is_ready(port: int) -> bool:
    """Whether the consumer there answers 200."""
    try:
        with socket.create_connection((HOST, port), 5.0) as connection:
            connection.sendall(REQUEST)
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def until_ready(process: Pinned, port: int, within_s: float = READY_S) -> None:
    """Raises `TimeoutError`, or `RuntimeError` where it ended."""
    deadline_s = time.monotonic() + within_s
    while process.is_up() and not is_ready(port):
        if time.monotonic() > deadline_s:
            raise TimeoutError
        time.sleep(LOOK_S)


def _start(mock: MockSqs, folder: Path) -> Sample:
    """Start a consumer and end it as soon as it is ready."""
    port = Ports().settle().consumer
    environment = consumer_environment(mock, folder, STATUSWIRE_PORT=str(port))
    begun_s = time.monotonic()
    process = Pinned(CONSUMER, Cores.here().server, folder / "output", environment)
    try:
        until_ready(process, port)
        return {"ready_s": time.monotonic() - begun_s, "cpu_s": process.cpu_s()}
    finally:
        process.kill()


def _stages(environment: dict[str, str]) -> dict[str, float]:
    """The CPU seconds of each step."""
    told: dict[str, float] = json.loads(_run(environment, "-m", "tests.bench.start_stages"))
    return told


def _imports(environment: dict[str, str]) -> Counter[str]:
    """Seconds that the modules of each package take, without what these import.

    Of the wall clock, and the tracing itself costs a third: for who compares packages.
    """
    took_us: Counter[str] = Counter()
    told = _run(environment, "-X", "importtime", "-c", "import consumer.daemon")
    for line in told.splitlines():
        own_us, _, name = line.removeprefix("import time:").split("|")
        if own_us.strip().isdecimal():
            took_us[name.strip().partition(".")[0]] += int(own_us)
    return took_us


def _run(environment: dict[str, str], *words: str) -> str:
    command = ["taskset", "-c", str(Cores.here().server), sys.executable, *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout or done.stderr


def play(run: Run) -> Results:
    results = Results()
    imports: list[Counter[str]] = []
    with mock_sqs(run.folder, rate=0) as mock:
        for number in range(-1, run.scale.rounds):
            folder = run.folder / str(number)
            folder.mkdir()
            sample = _start(mock, folder)
            if number < 0:
                continue  # Python kept what it compiled
            results.add(OURS, sample)
            log = f"sqlite:{folder / 'stages.db'}"
            environment = consumer_environment(mock, folder, STATUSWIRE_LOG=log)
            for stage, cpu_s in _stages(environment).items():
                results.add(f"stage: {stage}", {"cpu_s": cpu_s})
            imports.append(_imports(environment))
            run.tell(f"start {number + 1}: {sample['ready_s']:.2f} s, {sample['cpu_s']:.2f} of CPU")
    for package, _ in sum(imports, Counter()).most_common(PACKAGES):
        for each in imports:
            results.add(f"importing {package}", {"import_s": each[package] / 1e6})
    return results


START: Final = Scenario(
    "start",
    "From the start of the process until it is ready",
    play,
    {"ready_s": "s", "cpu_s": "CPU s", "import_s": "s, traced"},
    (Goal("start of the consumer until ready, s", "ready_s", "at most", 1.0),),
)
