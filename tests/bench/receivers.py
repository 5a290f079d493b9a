"""Who receives and deletes: the product, whole and with its log, and what else could be picked."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.local.places import ROOT, child_environment
from tests.bench.contestants import ENVIRONMENT, NODE, PYTHON
from tests.bench.goals import OURS
from tests.bench.mock_sqs import MockSqs, mock_sqs
from tests.bench.pinned import Cores, Pinned
from tests.bench.tls_front import tls_front

POLLS: Final = 16  # in flight at the same time, of every contestant but the naive one
WARM_S: Final = 60.0  # until it has received and deleted; a busy machine may take long
WARM_MESSAGES: Final = 2_000  # Node compiles what is hot
CONSUMER: Final = (sys.executable, "-m", "consumer")


@dataclass(frozen=True)
class Receiver:
    """A program that gets AWS' endpoint and the queue's address in its environment.

    `lacks` says what it takes that is not here.
    """

    name: str
    command: tuple[str | Path, ...]
    polls: int = POLLS
    settings: Mapping[str, str] = field(default_factory=dict)
    lacks: str | None = None


@dataclass(frozen=True)
class Entrant:
    """A receiver at work, with a mock of its own."""

    receiver: Receiver
    mock: MockSqs
    process: Pinned


def product(polls: int = POLLS) -> Receiver:
    """The whole consumer."""
    name = OURS if polls == POLLS else f"{OURS}, {polls} polls"
    return Receiver(name, CONSUMER, polls, {"STATUSWIRE_POLLS": str(polls)})


def peers() -> list[Receiver]:
    """All that we know how to start, whether or not they are installed. They log nothing."""
    modules = ENVIRONMENT / "node_modules" / "sqs-consumer"
    program = Path(__file__).parent / "peers" / "sqs_consumer.cjs"
    return [
        Receiver(f"sqs-consumer, {POLLS}", (NODE, program, str(POLLS)), lacks=_lack(modules)),
        _python(f"aioboto3, {POLLS} loops", "aioboto3_loops", POLLS, sys.executable),
        _python("aioboto3, one loop", "aioboto3_loops", 1, sys.executable),
        _python(f"aiobotocore, {POLLS} loops", "aiobotocore_loops", POLLS, PYTHON),
    ]


def consumer_environment(mock: MockSqs, folder: Path, **settings: str) -> dict[str, str]:
    """The consumer's, everything on: the log is a real file, and each commit is synced."""
    return {
        **child_environment(mock.endpoint, folder),
        "PYTHONDONTWRITEBYTECODE": "",  # else it would compile all there is at every start
        "STATUSWIRE_QUEUE_URL": mock.queue_url,
        "STATUSWIRE_SERVICE_QUEUE_URL": mock.service_url,
        "STATUSWIRE_LOG": f"sqlite:{folder / 'log.db'}",
        "STATUSWIRE_PORT": "0",
        "STATUSWIRE_METRICS_PORT": "0",
        "STATUSWIRE_INSTANCE_TAG": "*",  # EC2 knows none of the mock's instances
        "STATUSWIRE_SWEEP_S": "86400",
        "STATUSWIRE_QUIET_S": "86400",
        **settings,
    }


@contextmanager
def entered(
    receiver: Receiver, folder: Path, warm_messages: int, *, tls: bool = False, **options: float
) -> Iterator[Entrant]:
    """One that has warmed up and waits; `options` are those of its mock."""
    folder.mkdir(parents=True)
    with ExitStack() as closing:
        mock = closing.enter_context(mock_sqs(folder, **options))
        trust: dict[str, str] = {}
        if tls:
            front = closing.enter_context(tls_front(folder, mock.endpoint))
            mock.endpoint, trust = front.endpoint, front.environment
        output = folder / "output"
        environment = consumer_environment(mock, folder, **receiver.settings, **trust)
        process = Pinned(receiver.command, Cores.here().server, output, environment)
        closing.callback(process.kill)
        try:
            mock.until(lambda counts: process.is_up() and counts.deleted >= warm_messages, WARM_S)
            mock.pace(0)
            mock.drained(WARM_S)
        except TimeoutError as error:
            told = output.read_text(errors="replace")[-1_000:]
            raise RuntimeError(f"{receiver.name} gets nowhere: {error}: {told}") from error
        yield Entrant(receiver, mock, process)


def _python(name: str, module: str, loops: int, python: str | Path) -> Receiver:
    command = (python, "-m", f"tests.bench.peers.{module}", str(loops))
    return Receiver(name, command, loops, lacks=_lack(Path(python)))


def _lack(path: Path) -> str | None:
    return None if path.exists() else f"{os.path.relpath(path, ROOT)} is not installed"
