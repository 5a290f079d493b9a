"""How long to wait before coming back. Pure."""

from typing import Final

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
DOUBLINGS: Final = 6  # 0.5 s × 2⁶ = 32 s: past the longest


def wait_s(attempt: int, chance: float) -> float:
    """Seconds before an attempt, counted from 0; `chance` is from 0 to 1.

    All of it is chance ("full jitter"), so that clients which lost their server together do not
    come back together: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return chance * min(LONGEST_S, FIRST_S * 2.0 ** min(attempt, DOUBLINGS))
