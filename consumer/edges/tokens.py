"""Watch tokens: JSON Web Tokens (RFC 7519) in, grants out. PyJWT does the cryptography."""

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import jwt
from jwt.utils import base64url_decode

from consumer.core.grant import BadClaims, Grant, Terms
from consumer.edges.keys import Keyring, KeysUnavailable

__all__ = ["KeysUnavailable", "TokenRefused", "Verifier"]

MAX_TOKEN_CHARS: Final = 4_096  # as many as /watch-tokens issues: half of a header line's 8,192 B
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SIGNATURES: Final = jwt.PyJWS()


class TokenRefused(Exception):
    """A token that lets nobody in. The client must act; says why, and holds nothing of it."""


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
        if len(token) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
            raise TokenRefused("it is no signed token, or a too long one")
        key = await self._keys.find(_kid_of(_header_of(token)))
        if key is None:
            raise TokenRefused("its key is not known (kid)")
        try:
            payload = _SIGNATURES.decode(token, key)
        except jwt.PyJWTError:
            # Without the cause: a library's message may quote what it refused.
            raise TokenRefused("its signature is not its key's") from None
        try:
            return self._terms.grant(_object(payload), self._clock())
        except BadClaims as error:
            raise TokenRefused(str(error)) from error


def _header_of(token: str) -> dict[str, Any]:
    try:
        return _object(base64url_decode(token.partition(".")[0]))
    except ValueError as error:
        raise TokenRefused("it is not base64url") from error


def _kid_of(header: dict[str, Any]) -> str:
    """Which key signed. Where the header says to find one (jwk, jku, x5c, x5u) does not matter."""
    if "crit" in header:
        # RFC 7515, section 4.1.11: refuse what one does not know; we know no extension.
        raise TokenRefused("it demands an extension (crit)")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise TokenRefused("it does not name its key (kid)")
    return kid


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object that cannot be read in two ways: others might read the other one."""
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise TokenRefused("it is not made of JSON objects")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _refuse_constant(name: str) -> NoReturn:
    """NaN and the infinities, which are not JSON."""
    raise ValueError(name)
