"""What a token says of itself, unverified: enough to know what to ask for, and when to renew it.

Pure. Whether it is true the server decides; a token that cannot be read may be good all the same.
"""

import base64
import binascii
import json
import re
from typing import Any, Final

_PATTERN: Final = re.compile(r"\*|(instance|execution|machine):\S+")
EVERYTHING: Final = ("*",)


def expires_s(token: str) -> float | None:
    """When it ends, in seconds since 1970; None where it does not say so."""
    expires = _claims(token).get("exp")
    if isinstance(expires, int | float) and not isinstance(expires, bool):
        return float(expires)
    return None


def watch(token: str | None) -> tuple[str, ...]:
    """What it lets its bearer watch: everything, where it does not say what.

    How the claim is called is a setting of the server's.
    """
    for claim in _claims(token).values() if token is not None else ():
        if isinstance(claim, list) and claim and all(_is_pattern(each) for each in claim):
            return tuple(claim)
    return EVERYTHING


def _is_pattern(value: object) -> bool:
    return isinstance(value, str) and _PATTERN.fullmatch(value) is not None


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
