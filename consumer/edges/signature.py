"""AWS' Signature Version 4 for one kind of request: a POST whose body is all that varies.

Byte-equal to botocore's, which spends 90 µs on what is the same every time: which headers to sign,
the signing key of the day, the address.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Credentials(Protocol):
    """As botocore freezes them."""

    @property
    def access_key(self) -> str | None: ...

    @property
    def secret_key(self) -> str | None: ...

    @property
    def token(self) -> str | None: ...


class Signer:
    """Signs requests to one address."""

    def __init__(self, url: str, region: str, service: str, headers: Mapping[str, str]) -> None:
        """`headers` are sent with each request, and signed; besides `Host`."""
        parts = urlsplit(url)
        self.path = quote(normalize_url_path(parts.path), safe="/~")
        self.host = parts.netloc.rpartition("@")[2]
        self._scope = f"{region}/{service}/aws4_request"
        self._steps = (region, service, "aws4_request")
        self._fixed = {name.lower(): value for name, value in headers.items()}
        self._key: tuple[str, str, bytes] = "", "", b""

    def headers(
        self, varying: Mapping[str, str], body: bytes, credentials: Credentials, now_s: float
    ) -> dict[str, str]:
        """All headers of a request, its signature included, but for those that HTTP wants.

        `now_s` in seconds since 1970.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        date = moment[:8]
        sent = {"host": self.host, **self._fixed, **varying, "x-amz-date": moment}
        if credentials.token:
            sent["x-amz-security-token"] = credentials.token
        names = sorted(sent)
        listed = ";".join(names)
        lines = "\n".join([f"{name}:{sent[name]}" for name in names])
        hashed = hashlib.sha256(body).hexdigest()
        canonical = f"POST\n{self.path}\n\n{lines}\n\n{listed}\n{hashed}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{moment}\n{date}/{self._scope}\n{digest}"
        key = self._signing_key(credentials.secret_key or "", date)
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        sent["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{date}/{self._scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return sent

    def _signing_key(self, secret: str, date: str) -> bytes:
        """Of a day; derived anew when the day or the credentials change."""
        its_secret, its_date, key = self._key
        if (its_secret, its_date) != (secret, date):
            key = hmac.digest(f"AWS4{secret}".encode(), date.encode(), "sha256")
            for step in self._steps:
                key = hmac.digest(key, step.encode(), "sha256")
            self._key = secret, date, key
        return key
