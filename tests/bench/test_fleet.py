"""A fleet is many processes: none of them is left behind, and each is told apart."""

from pathlib import Path

import pytest

from infra.local.folder import run_folder
from tests.bench import fleet
from tests.bench.contestants import TAKER, Served
from tests.bench.pinned import Pinned
from tests.bench.stand import HEARTBEAT_S, stand


def test_a_fleet_ends_as_a_whole() -> None:
    """Redis and the replicas that serve no viewer go with the one that is measured."""
    with run_folder() as folder, stand(fleet.fleet(2), folder) as found:
        served = found.served
        assert set(served.others) == {fleet.REDIS, TAKER}
        assert served.taker is served.others[TAKER]
    pids = [served.process.pid, *(each.pid for each in served.others.values())]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_fleet_that_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was up by then is killed."""
    pids: list[int] = []

    def refuse(process: Pinned) -> Served:
        pids.append(process.pid)
        raise RuntimeError("it ended")

    monkeypatch.setattr(fleet, "listening", refuse)
    with run_folder() as folder, pytest.raises(RuntimeError):
        fleet.fleet(2).start(folder, 0, HEARTBEAT_S)
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_costs_and_shares_are_of_each_kind_of_process() -> None:
    """Of followers, it is one that is told, and all of them that share the load's core."""
    play = {
        "events": 100.0, "seconds": 2.0, "cpu_s": 0.1, "viewers_cpu_s": 0.2, "redis_cpu_s": 0.01,
        "taker_cpu_s": 0.05, "follower_1_cpu_s": 0.02, "follower_2_cpu_s": 0.04,
    }  # fmt: skip
    assert fleet.costs(play) == pytest.approx(
        {"server_us": 1000, "redis_us": 100, "taker_us": 500, "follower_us": 300, "all_us": 2200}
    )
    assert fleet.shares(play) == pytest.approx(
        {
            **{"server_core": 0.05, "redis_core": 0.005, "taker_core": 0.025},
            **{"follower_core": 0.015, "load_core": 0.16},
        }
    )
