"""Signed tokens (RFC 7515) taken apart: which key signed, and what. PyJWT does the cryptography."""

import json
import re
from typing import Any, Final, NoReturn

import jwt
from jwt.utils import base64url_decode, base64url_encode

MAX_TOKEN_CHARS: Final = 4_096  # as many as /watch-tokens issues: half of a header line's 8,192 B
MIN_HMAC_BYTES: Final = 32  # as many as the hash has (RFC 7518, section 3.2)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SIGNATURES: Final = jwt.PyJWS()


class TokenRefused(Exception):
    """A token that lets nobody in. The client must act; says why, and holds nothing of it."""


def hmac_key(secret: Any) -> jwt.PyJWK | None:
    """The key in a version of the secret that `/watch-tokens` signs with, if it is one."""
    try:
        key = json.loads(secret)["key"].encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if len(key) < MIN_HMAC_BYTES:
        return None
    return jwt.PyJWK({"kty": "oct", "k": base64url_encode(key).decode()}, "HS256")


def kid_of(token: str) -> str:
    """Which key signed. Where the header says to find one (jwk, jku, x5c, x5u) does not matter.

    Raises `TokenRefused`.
    """
    if len(token) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
        raise TokenRefused("it is no signed token, or a too long one")
    header = _header_of(token)
    if "crit" in header:
        # RFC 7515, section 4.1.11: refuse what one does not know; we know no extension.
        raise TokenRefused("it demands an extension (crit)")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise TokenRefused("it does not name its key (kid)")
    return kid


def claims_of(token: str, key: jwt.PyJWK | None) -> dict[str, Any]:
    """What the key signed; `None` where there is no such key. Raises `TokenRefused`."""
    if key is None:
        raise TokenRefused("its key is not known (kid)")
    try:
        payload = _SIGNATURES.decode(token, key)
    except jwt.PyJWTError:
        # Without the cause: a library's message may quote what it refused.
        raise TokenRefused("its signature is not its key's") from None
    return _object(payload)


def _header_of(token: str) -> dict[str, Any]:
    try:
        return _object(base64url_decode(token.partition(".")[0]))
    except ValueError as error:
        raise TokenRefused("it is not base64url") from error


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
