"""Every log, with the hub on top, plays every golden trace."""

from pathlib import Path

import pytest

from tests.contract.conftest import Logs
from tests.contract.trace import TRACES, Player


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
async def test_trace(trace: Path, logs: Logs) -> None:
    """Clients get exactly the frames that the trace says."""
    await Player(trace, logs.open, logs.close).play()


def test_there_are_traces() -> None:
    """The traces are found; an empty folder would pass everything."""
    assert len(TRACES) >= 20
