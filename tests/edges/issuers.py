"""Those who issue tokens: a secret, and a provider with key pairs. Both also sign what is wrong."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from consumer.core.grant import Terms
from consumer.edges.keys import Keyring, Keys
from consumer.edges.tokens import Verifier
from consumer.pipeline import Counts

KEY: Final = "k" * 64
KID: Final = "5b0c6f2e-8a35-4c0e-9d4e-2f1f0f4a7c11"
NOW_S: Final = 1_800_000_000
TERMS: Final = Terms(issuer="statuswire", audience="stack-1")

_MAKE: Final[dict[str, Callable[[], Any]]] = {
    "RS256": lambda: rsa.generate_private_key(65_537, 2_048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "own": lambda: ec.generate_private_key(ec.SECP256R1()),  # an attacker's
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@cache
def pair(name: str = "RS256") -> Any:
    """A private key for an algorithm. Made once: RSA's take long."""
    return _MAKE[name]()


def jwk(name: str = "RS256", **changed: Any) -> dict[str, Any]:
    """Its public key as a provider publishes it, but for what is changed; `None` takes out."""
    writers: dict[str, Any] = {
        "RS": RSAAlgorithm,
        "ES": ECAlgorithm,
        "Ed": OKPAlgorithm,
        "ow": ECAlgorithm,
    }
    writer = writers[name[:2]]
    public = writer.to_jwk(pair(name).public_key(), as_dict=True)
    written = {**public, "kid": name, "use": "sig"}
    written.pop("key_ops", None)
    return {key: value for key, value in {**written, **changed}.items() if value is not None}


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims, but for what is changed; `None` takes one out."""
    good = {
        "iss": "statuswire", "aud": "stack-1", "sub": "someone", "watch": ["*"],
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 900, "jti": "1",
    }  # fmt: skip
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(payload: Any, algorithm: str = "RS256", kid: str | None = None, **header: Any) -> str:
    """A token of the provider's."""
    name = "RS256" if algorithm[0] in "RP" else algorithm
    header["kid"] = kid or name
    return jwt.encode(payload, pair(name), algorithm, headers=header)


def segment(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: Any, payload: Any, key: bytes = KEY.encode()) -> str:
    """A token with any header and payload, signed with HMAC and SHA-256 whatever they say."""
    text = f"{segment(header)}.{segment(payload)}"
    return f"{text}.{segment(hmac.digest(key, text.encode(), hashlib.sha256))}"


def header(**changed: Any) -> dict[str, Any]:
    return {"alg": "HS256", "typ": "JWT", "kid": KID, **changed}


def secret_key(key: str = KEY) -> jwt.PyJWK:
    return jwt.PyJWK({"kty": "oct", "k": segment(key.encode())}, "HS256")


def verifier(keys: Keys, **options: Any) -> Verifier:
    """One with these keys, in whose world it is always `NOW_S`."""

    async def read() -> Keys:
        return keys

    keyring = Keyring(read, Counts(), clock=options.pop("clock", time.monotonic))
    return Verifier(keyring, TERMS, clock=lambda: NOW_S, **options)
