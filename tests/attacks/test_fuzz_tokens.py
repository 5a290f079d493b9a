"""Tokens against inputs that nobody would send; the long mode tries a million."""

from tests.attacks.fuzz_tokens import fuzz_tokens


def test_damaged_tokens_are_refused() -> None:
    """Each with `TokenRefused`; some are good still, or nothing behind a refusal was tried."""
    assert 0 < fuzz_tokens(5_000, seed=1) < 2_500
