"""Who may use the dashboard that runs on this machine. Pure: no I/O and no clock.

Loopback is no boundary: every user of the machine reaches it, and so does every page that a
browser shows. So a request needs the right `Host` (a name that resolves to 127.0.0.1 for somebody
else's page is another), the right `Origin`, and a cookie that only a one-time key gives. Cookies
know no ports: under 127.0.0.1 any other server on any other port would be sent ours (RFC 6265,
section 8.5). Hence a host name of chance below `localhost`, which is loopback wherever it is
resolved (RFC 6761, section 6.3).
"""

import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

COOKIE: Final = "statuswire-dashboard"
KEY_BYTES: Final = 32  # 256 bits: nobody guesses them
NAME_BYTES: Final = 8  # of the host name; it need only be one that nobody else serves


def new_host() -> str:
    """A name of our own."""
    return f"statuswire-{secrets.token_hex(NAME_BYTES)}.localhost"


class Gate:
    """One key, once; one session after it."""

    def __init__(self, host: str, port: int) -> None:
        self.authority = f"{host}:{port}"
        self.origin = f"http://{self.authority}"
        self.key: str = secrets.token_urlsafe(KEY_BYTES)
        self._is_key_used = False
        self._session = secrets.token_urlsafe(KEY_BYTES)

    def enter(self, headers: Mapping[str, str], key: str) -> str | None:
        """The `Set-Cookie` for who brings the key, the first time; else None.

        It comes from a file, whose origin is `null`: here the key alone counts.
        """
        is_right = hmac.compare_digest(key.encode(), self.key.encode())
        if headers.get("Host") != self.authority or not is_right or self._is_key_used:
            return None
        self._is_key_used = True
        return f"{COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    def refusal(self, headers: Mapping[str, str], *, changes: bool) -> str | None:
        """Why a request is refused, or None. `changes`: it does something, or opens a stream."""
        if headers.get("Host") != self.authority:
            return "this is not the address that was opened"
        origin = headers.get("Origin")
        if origin != self.origin and (changes or origin is not None):
            return "another page asks"
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "another page asks"
        if not self._has_session(headers.get("Cookie", "")):
            return (
                "no session: run `statuswire dashboard` again, and open what it opens;"
                " from a shell, `statuswire start` and `statuswire watch` do the same"
            )
        return None

    def _has_session(self, cookies: str) -> bool:
        try:
            given = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        return given is not None and hmac.compare_digest(
            given.value.encode(), self._session.encode()
        )
