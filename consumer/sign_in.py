"""Where people sign in with Amazon Cognito, read from one address.

`https://<domain>/<user pool>/<app client>/<identity pool>`: the stack's output SignInAddress. One
setting rather than four, since a part of it is of no use.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_REGION: Final = r"[a-z]{2}(?:-[a-z]+)+-[0-9]"
# The ids' shapes: CreateUserPool, CreateUserPoolClient and CreateIdentityPool in Cognito's API
# references.
_PATH: Final = re.compile(
    rf"/(?P<user_pool>(?P<region>{_REGION})_[0-9A-Za-z]{{1,45}})"
    r"/(?P<client_id>[0-9A-Za-z]{1,128})"
    r"/(?P<identity_pool>(?P=region):[0-9a-f-]{36})"
)
_HTTPS: Final = re.compile(r"https://[a-z0-9.-]+")
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class SignIn:
    """What the page needs; none of it is a secret."""

    url: str
    """Of the pages where people sign in: an origin."""
    region: str
    user_pool: str
    client_id: str
    identity_pool: str

    @property
    def identity_url(self) -> str:
        """Where an ID token is changed for AWS credentials: an origin (AWS General Reference,
        "Amazon Cognito identity pools endpoints"). An AWS on loopback is all in one place.
        """
        if _LOOPBACK.fullmatch(self.url):
            return self.url
        return f"https://cognito-identity.{self.region}.amazonaws.com"

    @property
    def origins(self) -> tuple[str, ...]:
        """What the page must be able to ask."""
        return (self.url, self.identity_url)


def sign_in(address: str) -> SignIn:
    """Raises `ValueError`, saying what is wrong with the address."""
    parts = urlsplit(address)
    url = f"{parts.scheme}://{parts.netloc}"
    path = _PATH.fullmatch(parts.path)
    if path is None or parts.query or parts.fragment:
        raise ValueError(
            "must be the stack's output SignInAddress:"
            " https://<domain>/<user pool>/<app client>/<identity pool>, all of one region"
        )
    if not _HTTPS.fullmatch(url) and not _LOOPBACK.fullmatch(url):
        raise ValueError("must be an https:// address without port or user")
    return SignIn(url=url, **path.groupdict())
