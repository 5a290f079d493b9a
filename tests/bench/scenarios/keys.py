"""The log at 1,000,000 keys: filling it, starting on it, and telling a viewer all of it."""

import socket
import sys
import time
from typing import Final

from infra.local.places import HOST, Ports
from tests.bench.fill_log import BATCH
from tests.bench.goals import OURS
from tests.bench.mock_sqs import mock_sqs
from tests.bench.pinned import Cores, Pinned
from tests.bench.receivers import CONSUMER, consumer_environment
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.scenarios.start import is_ready, until_ready

KEYS: Final = 1_000_000
FEWER: Final = 5  # rounds by this
FILL_S: Final = 3_600.0
START_S: Final = 300.0
ALL_OF_IT: Final = b'"more":false'  # what a snapshot's last frame ends with
HANDSHAKE: Final = (
    b"GET /v1/status?watch=* HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def snapshot(port: int) -> tuple[float, int]:
    """Seconds from the handshake to the end of a snapshot of everything, and its bytes.

    Frames are not looked into: whoever measures must not be what takes the time.
    """
    begun_s, size, tail = time.monotonic(), 0, b""
    with socket.create_connection((HOST, port), START_S) as connection:
        connection.sendall(HANDSHAKE)
        while ALL_OF_IT not in tail:
            received = connection.recv(1 << 20)
            if not received:
                raise RuntimeError(f"closed after {size} bytes")
            size += len(received)
            tail = tail[-len(ALL_OF_IT) :] + received
    return time.monotonic() - begun_s, size


def play(run: Run) -> Results:
    results = Results()
    keys, core = max(100 * BATCH, KEYS // run.scale.part), Cores.here().server
    log = run.folder / "log.db"
    filling = Pinned(
        [sys.executable, "-m", "tests.bench.fill_log", log, str(keys)], core, run.folder / "fill"
    )
    try:
        filled = {**filling.hear(FILL_S), "file_mb": log.stat().st_size / 1e6}
    finally:
        filling.stop()
    run.tell(f"keys: {filled}")
    results.add(f"{OURS}, filling", filled)
    for number in range(max(1, run.scale.rounds // FEWER)):
        folder, port = run.folder / str(number), Ports().settle().consumer
        folder.mkdir()
        with mock_sqs(folder, rate=0) as mock:
            environment = consumer_environment(
                mock, folder, STATUSWIRE_LOG=f"sqlite:{log}", STATUSWIRE_PORT=str(port)
            )
            begun_s = time.monotonic()
            consumer = Pinned(CONSUMER, core, folder / "output", environment)
            try:
                until_ready(consumer, port, START_S)
                sample = {"ready_s": time.monotonic() - begun_s, "start_cpu_s": consumer.cpu_s()}
                sample["private_mb"] = consumer.memory().private / 1e6
                sample["snapshot_s"], size = snapshot(port)
                sample["snapshot_mb"] = size / 1e6
                sample["private_after_mb"] = consumer.memory().private / 1e6
                assert is_ready(port)
            finally:
                consumer.kill()
        results.add(OURS, sample)
        run.tell(f"keys {number + 1}: {sample}")
    return results


LOG: Final = Scenario(
    "keys",
    f"The log at {KEYS:,} keys",
    play,
    {
        "appends_per_s": "appends/s",
        "first_per_s": "of the first tenth",
        "last_per_s": "of the last tenth",
        "append_cpu_us": "CPU µs/append",
        "file_mb": "MB of file",
        "ready_s": "s from start to ready",
        "start_cpu_s": "CPU s of it",
        "private_mb": "private MB",
        "snapshot_s": "s to a viewer's whole snapshot",
        "snapshot_mb": "MB of snapshot",
        "private_after_mb": "private MB afterwards",
    },
)
