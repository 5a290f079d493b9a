"""Watch tokens: JSON Web Tokens (RFC 7519) in, grants out."""

import time
from collections.abc import Callable

from consumer.core.grant import BadClaims, Grant, Terms
from consumer.edges import signed
from consumer.edges.keys import Keyring, KeysUnavailable
from consumer.edges.signed import TokenRefused

__all__ = ["KeysUnavailable", "TokenRefused", "Verifier"]


class Verifier:
    """Tells good tokens from others."""

    def __init__(
        self, keys: Keyring, terms: Terms, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._terms = terms
        self._clock = clock

    @property
    def is_ready(self) -> bool:
        """Whether there are keys to verify with."""
        return self._keys.is_ready

    async def verify(self, token: str) -> Grant:
        """What the token grants. Raises `TokenRefused`, `KeysUnavailable`.

        No claim is looked at before the signature.
        """
        claims = signed.claims_of(token, await self._keys.find(signed.kid_of(token)))
        try:
            return self._terms.grant(claims, self._clock())
        except BadClaims as error:
            raise TokenRefused(str(error)) from error
