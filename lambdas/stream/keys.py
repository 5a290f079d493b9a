"""Watch tokens in, grants out; by the keys in the secret that `/watch-tokens` signs with."""

from typing import Any, Final

import jwt
from botocore.exceptions import BotoCoreError, ClientError

from consumer.core.grant import BadClaims, Grant, Terms
from consumer.edges import signed
from consumer.edges.signed import TokenRefused

ISSUER: Final = "statuswire"  # as lambdas/watch_tokens signs
KEPT_S: Final = 60.0  # then a key that was rotated away is refused
RETRY_S: Final = 10.0  # between two reads for a key that is not known: forged ones cost no more


class KeysUnavailable(Exception):
    """Whether a token is good cannot be told now. The client must come back later."""


class Verifier:
    """Tells good tokens from others. Times in seconds since 1970."""

    def __init__(self, client: Any, secret: str, audience: str) -> None:
        self._client = client
        self._secret = secret
        self._terms = Terms(issuer=ISSUER, audience=audience)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at_s = 0.0

    def verify(self, token: str, now_s: float) -> Grant:
        """What the token grants. Raises `TokenRefused`, `KeysUnavailable`."""
        claims = signed.claims_of(token, self._find(signed.kid_of(token), now_s))
        try:
            return self._terms.grant(claims, now_s)
        except BadClaims as error:
            raise TokenRefused(str(error)) from error

    def _find(self, kid: str, now_s: float) -> jwt.PyJWK | None:
        age_s = now_s - self._read_at_s
        if not 0 <= age_s < (KEPT_S if kid in self._keys else RETRY_S):
            self._keys = self._read()
            self._read_at_s = now_s
        return self._keys.get(kid)

    def _read(self) -> dict[str, jwt.PyJWK]:
        """In this order: were the secret rotated between the calls, the newest would be missing,
        which its first token makes us read.
        """
        found = (self._key("AWSCURRENT"), self._key("AWSPREVIOUS"))
        return {kid: key for kid, key in found if key is not None}

    def _key(self, stage: str) -> tuple[str, jwt.PyJWK | None]:
        try:
            answer = self._client.get_secret_value(SecretId=self._secret, VersionStage=stage)
        except ClientError as error:
            # Before the first rotation no version has that label.
            code = error.response["Error"]["Code"]
            if code == "ResourceNotFoundException" and stage == "AWSPREVIOUS":
                return "", None
            raise KeysUnavailable(code) from error
        except BotoCoreError as error:
            raise KeysUnavailable(type(error).__name__) from error
        return answer["VersionId"], signed.hmac_key(answer.get("SecretString"))
