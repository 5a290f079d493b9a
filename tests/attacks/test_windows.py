"""The arithmetic that says whether an attack was noticed."""

import pytest

from tests.attacks.windows import compare, summary


def test_what_quiet_windows_do_by_themselves_is_noise() -> None:
    """An attack whose windows lie among them has no effect that could be told."""
    found = compare([4.0, 6.0, 4.0, 6.0], [5.0, 5.5, 5.0])
    assert found.is_noise
    assert str(found) == "within the quiet windows' spread"
    assert str(found.quiet) == "5.0 (4.0–6.0)"


def test_an_attack_that_slows_others_is_told_with_its_cost() -> None:
    """Steady quiet windows, and each attack above all of them."""
    found = compare([4.0, 4.1, 4.0, 4.1], [8.0, 8.2, 8.1])
    assert not found.is_noise
    assert str(found) == "slower by 4.0 ms"
    assert found.ratio.low > 1.9


def test_a_drift_of_the_machine_is_nobodys_doing() -> None:
    """Each pair is compared with its neighbours in time, which drifted too."""
    quiet = [2.0**number for number in range(0, 16, 2)]
    attacked = [2.0**number for number in range(1, 15, 2)]
    assert compare(quiet, attacked).ratio.median == pytest.approx(1.0)


def test_a_few_bad_windows_are_no_verdict() -> None:
    """Where the interval of the ratio reaches down to one, nothing is claimed."""
    found = compare([4.0] * 6, [3.9, 9.0, 3.9, 9.0, 9.0])
    assert found.is_noise
    assert str(found) == "not told from the quiet windows"


def test_a_window_in_which_nothing_came_is_no_division_by_zero() -> None:
    """It is as if it had been very fast."""
    assert summary([]).p99_ms == 0.0
    assert compare([0.0, 0.0], [1.0]).ratio.median == pytest.approx(100.0)
