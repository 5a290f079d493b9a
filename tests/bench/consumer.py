"""The whole consumer, fed by a mock of SQS, `native/mock_sqs.c`: from the queue to the viewer."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from infra.local.places import HOST, child_environment
from tests.bench.compiled import SOURCES, compiled
from tests.bench.pinned import Cores, Pinned, wait_for
from tests.bench.stand import Sample
from tests.bench.viewers import Viewers

MOCK: Final = "mock_sqs"
ACCOUNT: Final = "000000000000"
POLLS: Final = 16
DRAIN_S: Final = 60.0  # for what the mock has given and the consumer has not deleted


def lacks() -> str | None:
    """What it takes that is not here."""
    return None if (SOURCES / f"{MOCK}.c").exists() else f"native/{MOCK}.c is not here"


class Mock:
    """The queue, which makes events at a pace."""

    def __init__(self, process: Pinned, port: int) -> None:
        self.process = process
        self.endpoint = f"http://{HOST}:{port}"

    def pace(self, rate: float | None) -> None:
        """Events per second from now on; 0: none; None: as many as are asked for."""
        self._ask(f"pace?rate={'max' if rate is None else rate}")

    def drain(self) -> None:
        """Wait until all that was given is deleted."""

        def is_drained() -> bool:
            counts = self._ask("counts")
            return bool(counts["deleted"] >= counts["received"])

        wait_for(is_drained, DRAIN_S)

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.endpoint}/{what}") as answer:  # noqa: S310 # our own
            told: dict[str, Any] = json.load(answer)
        return told


class Journey:
    """A consumer between its queue and its viewers."""

    def __init__(self, mock: Mock, consumer: Pinned, viewers: Viewers) -> None:
        self.mock = mock
        self.consumer = consumer
        self.viewers = viewers

    def travel(self, rate: float | None, seconds: float, settle_s: float) -> Sample:
        """Events at a rate for so long, after a while in which it comes about."""
        self.mock.pace(rate)
        self.viewers.wait(settle_s)
        used_s = self.consumer.cpu_s()
        mock_s = self.mock.process.cpu_s()
        told = self.viewers.hear(seconds)
        used_s, mock_s = self.consumer.cpu_s() - used_s, self.mock.process.cpu_s() - mock_s
        self.mock.pace(0)
        self.mock.drain()
        return {
            **told,
            "deliveries_per_s": told["deliveries"] / told["seconds"],
            "cpu_share": used_s / told["seconds"],
            "load_share": (mock_s + told["viewers_cpu_s"]) / told["seconds"],
        }


@contextmanager
def journey(folder: Path, viewers: int, keys: int) -> Iterator[Journey]:
    """With so many viewers, who watch everything, and so many executions at the same time."""
    cores = Cores.here()
    folder.mkdir(parents=True)
    options = ["--rate", "0", "--keys", str(keys), "--instances", str(keys)]
    started: list[Pinned] = []
    watching = Viewers("product", cores.load, folder / "viewers.log")
    try:
        process = Pinned([compiled(MOCK), *options], cores.load, folder / "mock.log")
        started.append(process)
        mock = Mock(process, process.hear()["port"])
        output = folder / "consumer.log"
        environment = _environment(mock.endpoint, folder)
        consumer = Pinned([sys.executable, "-m", "consumer"], cores.server, output, environment)
        started.append(consumer)
        wait_for(lambda: consumer.is_up() and _port(output) is not None)
        watching.connect(_port(output) or 0, viewers, 0)
        yield Journey(mock, consumer, watching)
    finally:
        watching.kill()
        for process in reversed(started):
            process.kill()


def _environment(endpoint: str, folder: Path) -> dict[str, str]:
    """Everything on; the log is a real file, and each commit is synced."""
    return {
        **child_environment(endpoint, folder),
        "STATUSWIRE_QUEUE_URL": f"{endpoint}/{ACCOUNT}/status.fifo",
        "STATUSWIRE_SERVICE_QUEUE_URL": f"{endpoint}/{ACCOUNT}/service",
        "STATUSWIRE_LOG": f"sqlite:{folder / 'log.db'}",
        "STATUSWIRE_PORT": "0",
        "STATUSWIRE_METRICS_PORT": "0",
        "STATUSWIRE_POLLS": str(POLLS),
        "STATUSWIRE_INSTANCE_TAG": "*",  # EC2 knows none of the mock's instances
        "STATUSWIRE_SWEEP_S": "86400",
        "STATUSWIRE_QUIET_S": "86400",
    }


def _port(output: Path) -> int | None:
    """Where it listens, once its log says so."""
    for line in output.read_text().splitlines():
        if '"listening"' in line:
            record = json.loads(line)
            if record.get("message") == "listening":
                return int(record["port"])
    return None
