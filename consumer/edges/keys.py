"""The keys that watch tokens are verified with: where they come from, and how they stay fresh."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from consumer.edges import aws
from consumer.edges.signed import hmac_key
from consumer.pipeline import Counts

if TYPE_CHECKING:
    from types_aiobotocore_secretsmanager.client import SecretsManagerClient

log = logging.getLogger(__name__)

REFRESH_S: Final = 60.0  # what was rotated away is refused after about as long
RETRY_S: Final = 10.0  # between any two reads, whatever is asked: forged kids cost nothing more
PATIENCE_S: Final = 8.0  # for one read: less than a client's handshake may take (10 s)
# Since the last good read. Long enough for an outage of the source to be mended unnoticed; then
# a key that was rotated away meanwhile ends too.
KEPT_S: Final = 3_600.0
MAX_DOCUMENT_BYTES: Final = 256 * 1024  # 50 keys × 5 kB, each with its certificates
MAX_KEYS: Final = 50  # providers publish some two to ten; making an RSA key takes some 0.1 ms
RSA_BITS: Final = range(2_048, 8_192 + 1)  # RFC 7518, section 3.3; above: verifying costs too much
# Curve or type → its algorithms, first the one of a key that names none: RS256 is OpenID Connect's
# default (Core 1.0, section 2). A key has one algorithm (RFC 8725, section 3.1). Never `oct`: who
# publishes a symmetric key lets everybody sign.
ALGORITHMS: Final = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
    "Ed448": ("EdDSA",),
}

Keys = Mapping[str, jwt.PyJWK]
"""By `kid`; each is bound to its one algorithm."""


class KeysUnreadable(Exception):
    """The source gave no keys. The operator must act; `kind` is `unreachable` or `unusable`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class KeysUnavailable(Exception):
    """Whether a token is good cannot be told now. The client must come back later (1013)."""


class SecretKeys:
    """The secret that `/watch-tokens` signs with; a version's id is its key's `kid`."""

    def __init__(self, client: "SecretsManagerClient", secret: str) -> None:
        self._client = client
        self._secret = secret

    async def read(self) -> Keys:
        """The keys of AWSCURRENT and AWSPREVIOUS. Raises `KeysUnreadable`.

        In that order: with a rotation between the two calls the newest key is missing, which the
        first token that it signed makes us read. The other way round it would be the last one's.
        """
        found = [await self._key("AWSCURRENT"), await self._key("AWSPREVIOUS")]
        keys = {kid: key for kid, key in found if key is not None}
        if not keys:
            raise KeysUnreadable("unusable", 'the secret is not {"key": "<32 bytes or more>"}')
        return keys

    async def _key(self, stage: str) -> tuple[str, jwt.PyJWK | None]:
        try:
            answer = await self._client.get_secret_value(SecretId=self._secret, VersionStage=stage)
            return answer["VersionId"], hmac_key(answer.get("SecretString"))
        except aws.FAILURES as error:
            name = aws.name_of(error)
            # "GetSecretValue": also the answer where no version has that label. Before the first
            # rotation none is AWSPREVIOUS.
            if name == "ResourceNotFoundException" and stage == "AWSPREVIOUS":
                return "", None
            raise KeysUnreadable("unreachable", f"GetSecretValue: {name}") from error


class PublishedKeys:
    """The JSON Web Key Set (RFC 7517) that an OpenID Connect provider publishes."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def read(self) -> Keys:
        """The usable keys of the set. Raises `KeysUnreadable`.

        Redirects are not followed: the operator names where the keys are, and nobody on the way
        may name another place.
        """
        try:
            async with self._session.get(self._url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise KeysUnreadable("unreachable", f"the answer was {answer.status}")
                document = bytearray()
                async for chunk in answer.content.iter_chunked(16 * 1024):
                    document += chunk
                    if len(document) > MAX_DOCUMENT_BYTES:
                        raise KeysUnreadable("unusable", f"more than {MAX_DOCUMENT_BYTES} bytes")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise KeysUnreadable("unreachable", type(error).__name__) from error
        return keys_in(bytes(document))


def keys_in(document: bytes) -> Keys:
    """The usable keys of a JSON Web Key Set. Raises `KeysUnreadable`."""
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise KeysUnreadable("unusable", "not JSON") from error
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise KeysUnreadable("unusable", f"not a set of at most {MAX_KEYS} keys")
    keys: dict[str, jwt.PyJWK] = {}
    for each in listed:
        key = _public_key(each) if isinstance(each, dict) else None
        if key is not None and key.key_id is not None:
            keys.setdefault(key.key_id, key)
    if not keys:
        raise KeysUnreadable("unusable", "none of its keys can verify a signature")
    return keys


class Keyring:
    """The last keys that were read, kept fresh in the background and on demand."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Keys]],
        counts: Counts,
        *,
        refresh_s: float = REFRESH_S,
        retry_s: float = RETRY_S,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._counts = counts
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._clock = clock
        self._keys: Keys = {}
        self._read_at_s = -math.inf
        self._tried_at_s = -math.inf
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there are keys, and not too old ones."""
        return self._clock() - self._read_at_s < KEPT_S

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        try:
            while True:
                await self._refresh()
                await asyncio.sleep(self._retry_s if self._fails else self._refresh_s)
        finally:
            if self._refreshing is not None:
                self._refreshing.cancel()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, or None where the source has none. Raises `KeysUnavailable`."""
        if kid not in self._keys or not self.is_ready:
            await self._refresh()
        key = self._keys.get(kid)
        # While the source does not answer, an unknown key may be its newest.
        if not self.is_ready or (key is None and self._fails):
            raise KeysUnavailable("the keys cannot be read now")
        return key

    @property
    def _fails(self) -> bool:
        return self._tried_at_s > self._read_at_s

    async def _refresh(self) -> None:
        """Read the keys once for all who ask meanwhile, and not at all too soon after the last."""
        if self._refreshing is None:
            if self._clock() - self._tried_at_s < self._retry_s:
                return
            self._refreshing = asyncio.create_task(self._read_once())
        # Shielded: one of those who wait may go away.
        await asyncio.shield(self._refreshing)

    async def _read_once(self) -> None:
        self._tried_at_s = self._clock()
        try:
            async with asyncio.timeout(self._patience_s):
                keys = await self._read()
        except (KeysUnreadable, TimeoutError) as error:
            kind = error.kind if isinstance(error, KeysUnreadable) else "unreachable"
            self._counts["token_errors", kind] += 1
            reason = str(error) or f"no answer within {self._patience_s} s"
            log.warning("keys not read; the last ones stay", extra={"reason": reason})
        else:
            if keys.keys() != self._keys.keys():
                log.info("keys read", extra={"kids": sorted(keys)})
            self._keys = keys
            self._read_at_s = self._tried_at_s
        finally:
            self._refreshing = None


def _public_key(jwk: dict[str, Any]) -> jwt.PyJWK | None:
    """A published key that signatures may be verified with; None for any other."""
    allowed = ALGORITHMS.get(str(jwk.get("crv", jwk.get("kty"))), ())
    operations = jwk.get("key_ops", ["verify"])
    if (
        not isinstance(jwk.get("kid"), str)
        or jwk.get("use", "sig") != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
        or "d" in jwk  # a private key, which is one no more
        or jwk.get("alg", *allowed[:1]) not in allowed
    ):
        return None
    try:
        key = jwt.PyJWK(jwk, jwk.get("alg", allowed[0]))
    except jwt.PyJWTError:
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in RSA_BITS:
        return None
    return key
