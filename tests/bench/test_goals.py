"""When a goal counts as reached."""

from tests.bench.goals import OURS, PEERS, Goal, judge

ROUNDS = 15


def _samples(**figures: float) -> dict[str, list[dict[str, float]]]:
    """Each contestant with the same figure in every round."""
    return {
        name.replace("_", " "): [{"cpu_us": figure}] * ROUNDS for name, figure in figures.items()
    }


def test_of_every_peer_the_best_decides_and_baselines_are_none() -> None:
    """Ours is better than one, and worse than another."""
    goal = Goal("CPU", "cpu_us", "at most", 1.0, PEERS)
    verdict = judge(goal, _samples(Statuswire=6.0, worse=9.0, better=5.0, raw_C=1.0))
    assert verdict.against == "better"
    assert verdict.ratio is not None
    assert verdict.ratio.median == 1.2
    assert verdict.is_reached is False


def test_a_figure_that_varies_across_its_bound_is_not_reached() -> None:
    """Though its median is on the good side."""
    goal = Goal("CPU", "cpu_us", "at least", 10.0)
    wavering = [{"cpu_us": 11.0 if number % 2 else 9.0} for number in range(ROUNDS)]
    assert judge(goal, {OURS: [*wavering, {"cpu_us": 11.0}]}).is_reached is False
    assert judge(goal, {OURS: [{"cpu_us": 11.0}] * ROUNDS}).is_reached is True


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    """The peer is not installed here."""
    goal = Goal("CPU", "cpu_us", "at most", 1.0, "a peer")
    assert judge(goal, _samples(Statuswire=6.0)).is_reached is None
    assert judge(goal, {}).is_reached is None
