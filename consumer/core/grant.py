"""A grant: what a verified token lets its bearer watch, and until when. Pure."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from consumer.core import watch

# Clocks of two machines: seconds where NTP runs. Only for a token that seems to come from the
# future; after its end none is good.
MAX_SKEW_S: Final = 30
# Nothing can take a token back, so none may live for long: a day is the longest default among
# providers that we know (Auth0, "Update Access Token Lifetime"); those of /watch-tokens live an
# hour at most.
MAX_LIFETIME_S: Final = 86_400
MAX_PATTERNS: Final = 64  # as many as /watch-tokens grants


class BadClaims(Exception):
    """A signed token that grants nothing here. The client must act; names a claim, no value."""


class Grant(Struct, frozen=True):
    """`expires_s`: seconds since 1970, or None for a server that asks for no token."""

    watch: frozenset[str]
    expires_s: float | None

    def refused(self, patterns: Iterable[str]) -> list[str]:
        """Those of the patterns, all of them checked, that it does not cover."""
        if "*" in self.watch:
            return []
        return [each for each in patterns if self.watch.isdisjoint(watch.covering(each))]

    def has_expired(self, now_s: float) -> bool:
        """Whether its time is over."""
        return self.expires_s is not None and now_s >= self.expires_s


EVERYTHING: Final = Grant(frozenset({"*"}), None)
"""Of a server on loopback without a key: whoever can connect may watch."""


class Terms(Struct, frozen=True, kw_only=True):
    """What a token must say to be one for this server (RFC 7519, section 4.1)."""

    issuer: str
    audience: str
    watch_claim: str = "watch"
    """Which claim lists the patterns."""

    def grant(self, claims: dict[str, Any], now_s: float) -> Grant:
        """What the claims of a verified token grant. Raises `BadClaims`."""
        if claims.get("iss") != self.issuer:
            raise BadClaims("it is of another issuer (iss)")
        audience = claims.get("aud")
        if self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise BadClaims("it is for another server (aud)")
        expires_s = _check_times(claims, now_s)
        return Grant(_check_patterns(claims.get(self.watch_claim)), expires_s)


def _check_times(claims: dict[str, Any], now_s: float) -> float:
    """When the token expires."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or not all(_is_time(value) for value in times.values()):
        raise BadClaims("a time is missing, or none (exp, nbf, iat)")
    expires_s = float(times.pop("exp"))
    if expires_s <= now_s:
        raise BadClaims("it has expired (exp)")
    if expires_s > now_s + MAX_LIFETIME_S + MAX_SKEW_S:
        raise BadClaims("it would be good for more than a day (exp)")
    if any(value > now_s + MAX_SKEW_S for value in times.values()):
        raise BadClaims("its time has not come (nbf, iat)")
    return expires_s


def _is_time(value: object) -> bool:
    """Bounds rather than `isfinite`, which fails on an integer too large for a float."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < 1 << 53  # type: ignore[operator] # see the line before


def _check_patterns(patterns: object) -> frozenset[str]:
    if (
        not isinstance(patterns, list)
        or not 1 <= len(patterns) <= MAX_PATTERNS
        or not all(isinstance(each, str) for each in patterns)
    ):
        raise BadClaims(f"it does not list 1 to {MAX_PATTERNS} watch patterns")
    try:
        return frozenset(watch.check(each) for each in patterns)
    except watch.BadWatch as error:
        raise BadClaims("one of its watch patterns is none") from error
