"""The DynamoDB of the other tests is like moto's, which is not ours: the same traces on both."""

from typing import Any

import pytest

from lambdas.stream.connections import TooMany
from tests.contract import trace
from tests.core import examples
from tests.lambdas.stand import LEASE_MS, Stand, make_tables
from tests.lambdas.test_ws_traces import Player

TELLING = ("04-late-steps", "25-watching-more-from-further-back", "31-the-instance-is-learnt-later")


@pytest.fixture
def motos(moto: None) -> Any:
    return make_tables()


async def test_traces(motos: Any) -> None:
    """Three, which between them write, condition and read in every way that there is."""
    for path in trace.TRACES:
        if path.stem in TELLING:
            for item in motos.scan(TableName="log")["Items"]:
                motos.delete_item(TableName="log", Key={"pk": item["pk"], "sk": item["sk"]})
            await Player(path, motos).play()


def test_leases(motos: Any) -> None:
    """Word is left, requests wait up to a bound, and an end is seen by who comes next."""
    stand = Stand(motos)
    stand.connect("c", watch=["*"])
    held = stand.connections.claim("c", due=0, until_ms=stand.now_ms + LEASE_MS)
    assert held is not None
    stand.arrive(examples.step(1))
    for _ in range(10):
        stand.ask("c", op="ping")
    with pytest.raises(TooMany):
        stand.ask("c", op="ping")
    assert not stand.connections.release(held)
    assert len(held.requests) == 10
    stand.connections.abandon(held)
    stand.told("c")
    stand.serve("c")
    assert [each["op"] for each in stand.told("c")] == ["status"] + ["pong"] * 10
    stand.sockets.close("c")
    stand.beat()
    stand.arrive(examples.step(2))
    assert stand.rows() == []
