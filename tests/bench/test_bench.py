"""The benchmarks run, and deliver; how fast is nobody's business here."""

import pytest

from infra.local.folder import run_folder
from tests.bench.__main__ import play
from tests.bench.goals import OURS
from tests.bench.report import report
from tests.bench.scenario import QUICK
from tests.bench.scenarios.everything import SCENARIOS

DELIVERING = ("saturated", "steady", "trickle", "topics-1000", "topics-100000")
FLEETS = ("fleet", "replicas")
RECEIVING = ("queue", "queue-tls", "queue-delayed")
SHOWING = ("screen", "screen-clients", "screen-instances")
OTHERS = ("idle", "crowd", "start", "paint", "frames", "keys", "followers", "storm")


@pytest.mark.parametrize("name", [*DELIVERING, *FLEETS, *RECEIVING, *SHOWING, *OTHERS])
def test_a_moment_of_each_scenario_delivers_and_can_be_reported(name: str) -> None:
    """Of the product and of every peer that is installed, and nothing is lost on the way."""
    chosen = [scenario for scenario in SCENARIOS if scenario.name == name]
    with run_folder() as folder:
        found = play(chosen, QUICK, folder)
    samples = found[name].samples
    if not samples:
        pytest.skip(str(found[name].lacks))
    if name != "replicas":  # it has nobody else
        assert any(contestant.startswith(OURS) for contestant in samples)
    for contestant, told in samples.items():
        assert told, contestant
        if name in DELIVERING or name in FLEETS:
            assert all(sample["deliveries"] > 0 for sample in told), contestant
            assert not any(sample["lost"] for sample in told), contestant
        if name in RECEIVING:
            assert all(sample["messages"] > 0 for sample in told), contestant
    if name in SHOWING:  # some of its moments are too short for each to have one
        assert any(sample["deliveries"] > 0 for told in samples.values() for sample in told)
    assert report(chosen, found)
