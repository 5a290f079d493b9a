"""Limits: the token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.limits import Bucket


def taken(bucket: Bucket, now_s: float, tries: int) -> int:
    return sum(bucket.take(now_s) for _ in range(tries))


def test_a_burst_is_given_at_once_and_no_more() -> None:
    """A full bucket holds its burst."""
    assert taken(Bucket(per_s=10, burst=5), 100.0, 20) == 5


@given(st.sampled_from([0.1, 3, 7, 5_000]), st.sampled_from([1, 2, 10]), st.floats(0, 1e6))
def test_the_clock_does_not_cost_the_last_of_a_burst(
    per_s: float, burst: int, now_s: float
) -> None:
    """Sums of fractions are not exact; a bucket of one would never give any."""
    assert taken(Bucket(per_s, burst), now_s, 20) == burst


def test_what_was_taken_comes_back_at_the_rate() -> None:
    """So much per second."""
    bucket = Bucket(per_s=10, burst=5)
    taken(bucket, 100.0, 20)
    assert taken(bucket, 100.25, 20) == 2


def test_no_more_comes_back_than_the_bucket_holds() -> None:
    """A long silence does not save up."""
    bucket = Bucket(per_s=10, burst=5)
    taken(bucket, 100.0, 20)
    assert taken(bucket, 1_000_000.0, 20) == 5


def test_a_refusal_costs_nothing() -> None:
    """Who asks too often waits no longer for it."""
    bucket = Bucket(per_s=1, burst=1)
    assert taken(bucket, 100.0, 1_000) == 1
    assert bucket.take(101.5)


def test_a_bucket_is_full_again_once_everything_came_back() -> None:
    """Then it may be forgotten."""
    bucket = Bucket(per_s=10, burst=5)
    assert bucket.is_full(100.0)
    taken(bucket, 100.0, 5)
    assert not bucket.is_full(100.25)
    assert bucket.is_full(101.0)


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 50),
    st.lists(st.floats(0, 10), min_size=1, max_size=200),
)
def test_never_more_than_the_burst_and_the_rate(
    per_s: float, burst: int, pauses_s: list[float]
) -> None:
    """Over any span, in whatever rhythm it is asked."""
    bucket = Bucket(per_s, burst)
    now_s = begun_s = 1_000.0
    count = 0
    for pause_s in pauses_s:
        now_s += pause_s
        count += bucket.take(now_s)
    assert count <= burst + (now_s - begun_s) * per_s + 0.02
