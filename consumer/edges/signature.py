"""AWS' Signature Version 4 for one kind of request: a POST whose body is all that varies.

Byte-equal to botocore's, which spends 90 µs on what is the same every time: which headers to sign
and in which order, the signing key of the day, the address.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

ALGORITHM: Final = "AWS4-HMAC-SHA256"
DATE: Final = "x-amz-date"
TOKEN: Final = "x-amz-security-token"  # noqa: S105  # a header's name
_BLOCK_BYTES: Final = 64  # of SHA-256


class Credentials(Protocol):
    """As botocore freezes them."""

    @property
    def access_key(self) -> str | None: ...

    @property
    def secret_key(self) -> str | None: ...

    @property
    def token(self) -> str | None: ...


class Signer:
    """Signs requests to one address that have the same headers but for their date and token."""

    def __init__(self, url: str, region: str, service: str, headers: Mapping[str, str]) -> None:
        """`headers` are sent with each request, and signed; besides `Host`."""
        parts = urlsplit(url)
        self.path = quote(normalize_url_path(parts.path), safe="/~")
        host = parts.netloc.rpartition("@")[2]
        self.fixed = {"host": host, **{name.lower(): value for name, value in headers.items()}}
        """What is the same in every request."""
        self._scope = f"{region}/{service}/aws4_request"
        self._steps = (region, service, "aws4_request")
        self._plain = self._ordered((*self.fixed, DATE))
        self._with_token = self._ordered((*self.fixed, DATE, TOKEN))
        self._key: tuple[str, str, Hmac] = "", "", Hmac(b"")

    def headers(self, body: bytes, credentials: Credentials, now_s: float) -> dict[str, str]:
        """A request's headers besides the fixed ones and those that HTTP wants; its signature is
        one of them.

        `now_s` in seconds since 1970.
        """
        moment = _moment(int(now_s))
        date = moment[:8]
        sent = {DATE: moment}
        template, listed = self._plain
        if credentials.token:
            sent[TOKEN] = credentials.token
            template, listed = self._with_token
        canonical = template % sent + hashlib.sha256(body).hexdigest()
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        scope = f"{date}/{self._scope}"
        key = self._signing_key(credentials.secret_key or "", date)
        signature = key.hex(f"{ALGORITHM}\n{moment}\n{scope}\n{digest}".encode())
        sent["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return sent

    def _ordered(self, names: Iterable[str]) -> tuple[str, str]:
        """The canonical request up to its body's hash, with places for what varies, and the list
        of its headers.
        """
        fixed = {name: value.replace("%", "%%") for name, value in self.fixed.items()}
        in_order = sorted(names)
        lines = "".join(f"{name}:{fixed.get(name, f'%({name})s')}\n" for name in in_order)
        listed = ";".join(in_order)
        return f"POST\n{self.path.replace('%', '%%')}\n\n{lines}\n{listed}\n", listed

    def _signing_key(self, secret: str, date: str) -> "Hmac":
        """Of a day; derived anew when the day or the credentials change."""
        its_secret, its_date, key = self._key
        if (its_secret, its_date) != (secret, date):
            derived = hmac.digest(f"AWS4{secret}".encode(), date.encode(), "sha256")
            for step in self._steps:
                derived = hmac.digest(derived, step.encode(), "sha256")
            key = Hmac(derived)
            self._key = secret, date, key
        return key


class Hmac:
    """HMAC-SHA256 under one key, whose two blocks are hashed once: 2.4 µs instead of 4.2.

    RFC 2104, section 4. For keys that are no longer than a block, as signing keys are.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def hex(self, message: bytes) -> str:
        """The code of a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()


@lru_cache(maxsize=2)
def _moment(now_s: int) -> str:
    """All requests of a second have it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
