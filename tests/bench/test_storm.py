"""The storm is simulated by the rules that it says, and loses nobody."""

import random
from math import inf

import pytest

from consumer.core.limits import Limits
from tests.bench.storm import Costs, Fleet, Told, play

COSTS = Costs(handshake_us=400, knock_us=40, event_us=2)
FLEET = Fleet(
    viewers=1_000, snapshot_events=1, event_bytes=500, busy=0.0, network_bytes_per_s=1e12,
    limits=Limits(),
)  # fmt: skip


def _told(fleet: Fleet, *, spread_s: float = 0.1, within_s: float = 300.0) -> Told:
    return play(
        fleet, COSTS, lambda dice: dice.uniform(0, spread_s), random.Random(1), within_s=within_s
    )


def test_one_viewer_waits_for_its_own_handshake_only() -> None:
    """By the part of the core that following leaves, and then for the network."""
    fleet = FLEET._replace(viewers=1, snapshot_events=11, busy=0.5, network_bytes_per_s=5_500)
    told = _told(fleet, spread_s=0)
    assert told.back_s == [pytest.approx((400 + 10 * 2) / 1e6 / 0.5 + 1)]
    assert told.tries == 1
    assert told.used_s == pytest.approx(420 / 1e6)


def test_a_crowd_waits_for_the_core() -> None:
    """Who comes while others are served comes after them; nobody is lost."""
    told = _told(FLEET)
    assert len(told.back_s) == told.tries == 1_000
    assert told.until_s(1.0, 1_000) == pytest.approx(0.4, rel=0.01)
    assert told.used_s == pytest.approx(0.4)


def test_more_than_may_come_at_once_come_again() -> None:
    """Refused for their rate, or pushed out by newer ones: each costs a little, and is let in."""
    limits = Limits(half_open=100, handshakes_per_s=250)
    told = _told(FLEET._replace(limits=limits))
    assert told.refused > 0
    assert told.pushed_out > 0
    assert len(told.back_s) == 1_000
    turned_away = told.refused + told.pushed_out
    assert told.tries == 1_000 + turned_away
    assert told.used_s == pytest.approx(0.4 + turned_away * 40 / 1e6)


def test_a_full_replica_takes_nobody_in() -> None:
    """Who is closed with 1013 comes again and again, less and less often."""
    told = _told(FLEET._replace(limits=Limits(connections=600)), within_s=60.0)
    assert len(told.back_s) == 600
    assert told.until_s(0.6, 1_000) < 1
    assert told.until_s(1.0, 1_000) == inf
    assert 400 * 6 < told.over_capacity < 400 * 12  # waits of 0.5 s, doubled up to 30 s


def test_a_replica_that_cannot_follow_serves_nobody() -> None:
    """It is no use to simulate what it would tell them."""
    with pytest.raises(ValueError, match="follow"):
        _told(FLEET._replace(busy=1.0))
