"""The mock of SQS, `native/mock_sqs.c`, from Python."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from infra.local.places import HOST
from tests.bench.compiled import compiled
from tests.bench.pinned import Cores, Pinned

ACCOUNT: Final = "000000000000"
LOOK_S: Final = 0.02


class Counts(msgspec.Struct, frozen=True):
    """What the mock has done so far."""

    at_ns: int
    """Of the monotonic clock."""
    receives: int
    empty: int
    """Of these, answered without a message."""
    deletes: int
    """Calls, not messages."""
    received: int
    deleted: int
    """Messages, each counted once."""
    deleted_again: int
    visibility_changes: int
    others: int
    """Calls that are none of the queue's traffic."""
    due: int
    """Events that a fixed rate has made and nobody has fetched; -1 where there is no rate."""
    cpu_us: int
    """The mock's own: near the time that passed, the mock is what limits."""


class MockSqs:
    """One that runs. Its FIFO queue holds the events, its standard queue stays empty."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://{HOST}:{port}"
        """What clients are told; that of what stands in front, where something does."""
        self._http = http.client.HTTPConnection(HOST, port)

    @property
    def queue_url(self) -> str:
        return f"{self.endpoint}/{ACCOUNT}/status.fifo"

    @property
    def service_url(self) -> str:
        return f"{self.endpoint}/{ACCOUNT}/service"

    def counts(self) -> Counts:
        """What it has done so far."""
        return self._ask("/counts")

    def pace(self, rate: float | None) -> Counts:
        """Events per second from now on; 0: none; None: as many as are asked for."""
        return self._ask(f"/pace?rate={'max' if rate is None else rate}")

    def until(self, reached: Callable[[Counts], bool], within_s: float) -> Counts:
        """Wait for what it has done to be enough. Raises `TimeoutError`."""
        deadline_s = time.monotonic() + within_s
        while not reached(counts := self.counts()):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"so far: {counts}")
            time.sleep(LOOK_S)
        return counts

    def deleted(self, least: int, within_s: float) -> Counts:
        """Wait for so many messages to have been deleted. Raises `TimeoutError`."""
        return self.until(lambda counts: counts.deleted >= least, within_s)

    def drained(self, within_s: float) -> Counts:
        """Wait for all that was handed out to be deleted. Raises `TimeoutError`."""
        return self.until(lambda counts: counts.deleted >= counts.received, within_s)

    def close(self) -> None:
        self._http.close()

    def _ask(self, path: str) -> Counts:
        self._http.request("GET", path)
        return msgspec.json.decode(self._http.getresponse().read(), type=Counts)


@contextmanager
def mock_sqs(folder: Path, **options: float | str) -> Iterator[MockSqs]:
    """A mock on the core of the load; options are the program's, with `_` for `-`."""
    words = [word for name, value in options.items() for word in (_option(name), str(value))]
    process = Pinned([compiled("mock_sqs"), *words], Cores.here().load, folder / "mock")
    try:
        mock = MockSqs(process.hear()["port"])
        try:
            yield mock
        finally:
            mock.close()
    finally:
        process.kill()


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
