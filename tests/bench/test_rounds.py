"""The arithmetic that says whether a goal is reached."""

import pytest

from tests.bench import rounds


def test_a_drift_that_both_share_leaves_the_ratio_alone() -> None:
    """Each round is twice as slow as the one before; ours is always 1.5 times theirs."""
    theirs = [2.0**number for number in range(15)]
    ratio = rounds.paired([1.5 * each for each in theirs], theirs)
    assert ratio == pytest.approx((1.5, 1.5, 1.5))


def test_noise_widens_the_interval_and_a_goal_within_it_is_not_reached() -> None:
    """The median alone would say that it is."""
    ratio = rounds.paired([0.9, 1.3] * 7 + [1.0], [1.0] * 15)
    assert ratio.low < 1.0 < ratio.high
    assert not ratio.is_at_least(1.0)
    assert not ratio.is_at_most(1.0)


def test_every_contestant_has_its_turn_in_every_round_and_each_begins() -> None:
    """Whoever always comes first would always meet the same neighbour."""
    order = list(rounds.turns("abc", 3))
    assert [name for _, name in order] == list("abcbcacab")
    assert [number for number, _ in order] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
