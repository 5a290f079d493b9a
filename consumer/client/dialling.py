"""How both shells dial: what goes into a handshake, and what it means that none came about."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from consumer.client.course import Course
from consumer.client.dialogue import OPEN_WITHIN_S

SUBPROTOCOL: Final = Subprotocol("statuswire.v1")
NO_CODE: Final = 1006  # RFC 6455, section 7.1.5
GOODBYE_S: Final = 2.0  # for the server's half of the closing handshake
NOT_IN_ADDRESS: Final = {
    "token": "an address is logged on its way: use token=",
    "access_token": "an address is logged on its way: use token=",
    "watch": "use watch=",
    "since": "use since=",
}


def check(url: str) -> str:
    """The address, if it is one to dial. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError("the url is ws://… or wss://…")
    for name in parse_qs(parts.query, keep_blank_values=True):
        if name in NOT_IN_ADDRESS:
            raise ValueError(f"no {name} in the url: {NOT_IN_ADDRESS[name]}")
    return url


def options(token: str | None, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """For the library's `connect`, async or not: what its caller chose, and the token."""
    headers = dict(chosen.get("additional_headers") or {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return {
        "compression": None,  # the server has none
        "ping_interval": None,  # heartbeats tell
        "open_timeout": OPEN_WITHIN_S,
        "close_timeout": GOODBYE_S,
        **chosen,
        "subprotocols": [SUBPROTOCOL],
        "additional_headers": headers,
    }


def failed(error: Exception) -> tuple[int | None, str]:
    """The HTTP status with which a handshake failed, if any, and what to say of it."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return status, f"HTTP {status}"
    if isinstance(error, TimeoutError):
        return None, "no answer in time"
    return None, str(error) or type(error).__name__


def ended(error: ConnectionClosed) -> tuple[int, str]:
    """The close code that the server said, and its reason."""
    return (NO_CODE, "") if error.rcvd is None else (error.rcvd.code, error.rcvd.reason)


def course(
    watch: Sequence[str] | None, since: str | None, token: object, chance: Callable[[], float]
) -> Course:
    """A string is the one token there is; a callable brings another whenever one is needed.

    Raises `ValueError` for a watch that is none.
    """
    if isinstance(watch, str) or (watch is not None and not watch):
        raise ValueError("watch is a list of one or more patterns")
    return Course(watch, since, can_renew=callable(token), chance=chance)


def clock_s() -> float:
    """Seconds since 1970, by which tokens end."""
    return time.time()
