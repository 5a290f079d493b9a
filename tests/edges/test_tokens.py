"""Watch tokens: good ones, and each way to make a bad one."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import aioboto3
import boto3  # type: ignore[import-untyped]  # it has no types of its own
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from consumer.core import grant, watch
from consumer.core.grant import Grant, Terms
from consumer.edges import keys
from consumer.edges.keys import Keyring, SecretKeys, keys_in
from consumer.edges.signed import MAX_TOKEN_CHARS, MIN_HMAC_BYTES
from consumer.edges.tokens import KeysUnavailable, TokenRefused, Verifier
from consumer.pipeline import Counts
from lambdas.watch_tokens import app as issuer
from tests.edges.issuers import (
    KEY,
    KID,
    NOW_S,
    claims,
    forge,
    header,
    jwk,
    key_set,
    pair,
    secret_key,
    segment,
    signed,
    verifier,
)

ALL = Grant(frozenset({"*"}), NOW_S + 900)
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]


def of_secret() -> Verifier:
    return verifier({KID: secret_key()})


def of_provider() -> Verifier:
    published = [jwk(name) for name in ALGORITHMS if name != "PS256"]
    return verifier(keys_in(key_set(*published, jwk("RS256", kid="PS256", alg="PS256"))))


async def test_a_good_token_of_the_secret_grants_what_it_says() -> None:
    """Its patterns, until it expires."""
    assert await of_secret().verify(forge(header(), claims())) == ALL


@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_good_token_of_a_provider_grants_what_it_says(name: str) -> None:
    """With each algorithm."""
    assert await of_provider().verify(signed(claims(), name, kid=name)) == ALL


async def test_other_fields_of_the_header_do_not_matter() -> None:
    """Providers write many."""
    plain = header(typ="at+jwt", cty="x", x5t="y", zip="z", nested={"a": [1]})
    assert await of_secret().verify(forge(plain, claims())) == ALL


def public_pem() -> bytes:
    public = pair("RS256").public_key()
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def unsigned(algorithm: Any, signature: str = "") -> str:
    return f"{segment(header(alg=algorithm))}.{segment(claims())}.{signature}"


def tampered(token: str, place: int, part: Any) -> str:
    parts = token.split(".")
    parts[place] = segment(part)
    return ".".join(parts)


GOOD = forge(header(), claims())
OTHER_KEY = b"x" * 64
SECRET_ATTACKS = {
    "no algorithm, no signature": unsigned("none"),
    "no algorithm, some signature": unsigned("none", "AAAA"),
    "no algorithm, written otherwise": unsigned("nOnE", "AAAA"),
    "no algorithm, signed": forge(header(alg="none"), claims()),
    "the algorithm is left out": forge({"kid": KID}, claims()),
    "the algorithm is null": forge(header(alg=None), claims()),
    "the algorithm is a list": forge(header(alg=["HS256"]), claims()),
    "the algorithm is of another kind": forge(header(alg="RS256"), claims()),
    "the algorithm is longer": forge(header(alg="HS512"), claims()),
    "signed with another key": forge(header(), claims(), OTHER_KEY),
    "signed with no key": forge(header(), claims(), b"0"),
    "the claims were changed": tampered(GOOD, 1, claims(sub="other")),
    "the header was changed": tampered(GOOD, 0, header(typ="other")),
    "the signature was cut": GOOD[:-4],
    "the signature was prolonged": GOOD + "AAAA",
    "the signature is empty": GOOD.rpartition(".")[0] + ".",
    "the last bits that do not count were changed": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "the key id is left out": forge({"alg": "HS256"}, claims()),
    "the key id is unknown": forge(header(kid="other"), claims()),
    "the key id is empty": forge(header(kid=""), claims()),
    "the key id is a file of zeros": forge(header(kid="/dev/null"), claims(), b"\0"),
    "the key id is a path": forge(header(kid="../../../../etc/passwd"), claims()),
    "the key id is SQL": forge(header(kid="' UNION SELECT 'AA' --"), claims()),
    "the key id is a command": forge(header(kid="$(id)"), claims()),
    "the key id is a staging label": forge(header(kid="AWSCURRENT"), claims()),
    "the key id is huge": forge(header(kid="x" * 2_000), claims()),
    "the key id is a number": forge(header(kid=1), claims()),
    "the key id is null": forge(header(kid=None), claims()),
    "the key id is a list": forge(header(kid=[KID]), claims()),
    "the key id is an object": forge(header(kid={"kid": KID}), claims()),
    "the key id has half a character": forge(header(kid="\ud800"), claims()),
    "the key comes along": forge(
        header(kid="own", jwk={"kty": "oct", "k": segment(OTHER_KEY), "kid": "own"}),
        claims(),
        OTHER_KEY,
    ),
    "the key comes along under a known id": forge(
        header(jwk={"kty": "oct", "k": segment(OTHER_KEY), "kid": KID}), claims(), OTHER_KEY
    ),
    "an extension is demanded": forge(header(crit=["exp"], exp=1), claims()),
    "an extension is demanded that the library knows": forge(
        header(crit=["b64"], b64=True), claims()
    ),
    "no extension is demanded": forge(header(crit=[]), claims()),
    "the payload is not encoded": forge(header(b64=False), claims()),
    "the header names two algorithms": forge(
        json.dumps(header()).encode()[:-1] + b',"alg":"none"}', claims()
    ),
    "the header names two keys": forge(
        b'{"alg":"HS256","kid":"other","kid":"%b"}' % KID.encode(), claims()
    ),
    "the header is a list": forge([header()], claims()),
    "the header is empty": forge(b"", claims()),
    "the header is not UTF-8": forge(b'{"alg":"HS256","kid":"\xff"}', claims()),
    "the header is UTF-16": forge(json.dumps(header()).encode("utf-16"), claims()),
    "the header is deep": forge(b'{"a":' * 500, claims()),
    "a claim is said twice": forge(
        header(), json.dumps(claims()).encode()[:-1] + b',"exp":%d}' % (NOW_S + 90)
    ),
    "a claim inside of another is said twice": forge(
        header(), json.dumps(claims()).encode()[:-1] + b',"act":{"sub":"a","sub":"b"}}'
    ),
    "the claims are a list": forge(header(), [claims()]),
    "the claims are text": forge(header(), "claims"),
    "the claims are null": forge(header(), None),
    "the claims are empty": forge(header(), b""),
    "the claims are not JSON": forge(header(), b"{"),
    "the claims are not UTF-8": forge(header(), b'{"\xff":1}'),
    "the claims are deep": forge(header(), b"[" * 2_000 + b"]" * 200),
    "a number is too long": forge(header(), b'{"exp":' + b"9" * 2_500 + b"}"),
    "a number that JSON does not have": forge(header(), claims(other=float("nan"))),
    "expired": forge(header(), claims(exp=NOW_S)),
    "expired long ago": forge(header(), claims(exp=1)),
    "without an end": forge(header(), claims(exp=None)),
    "good for years": forge(header(), claims(exp=NOW_S + 10**8)),
    "good for ever": forge(header(), claims(exp=10**300)),
    "the end is text": forge(header(), claims(exp=str(NOW_S + 900))),
    "the end is true": forge(header(), claims(exp=True)),
    "the end is not a number": forge(header(), claims(exp=float("nan"))),
    "the end is infinite": forge(header(), claims(exp=float("inf"))),
    "the end overflows": forge(header(), b'{"exp":1e999}'),
    "not yet good": forge(header(), claims(nbf=NOW_S + 60)),
    "issued in the future": forge(header(), claims(iat=NOW_S + 60)),
    "of another stack": forge(header(), claims(aud="stack-2")),
    "for nobody": forge(header(), claims(aud=None)),
    "of another issuer": forge(header(), claims(iss="other")),
    "of no issuer": forge(header(), claims(iss=None)),
    "it grants nothing": forge(header(), claims(watch=None)),
    "it grants no pattern": forge(header(), claims(watch=[])),
    "it grants what is no pattern": forge(header(), claims(watch=["**"])),
    "it grants too many": forge(header(), claims(watch=["*"] * (grant.MAX_PATTERNS + 1))),
    "nothing": "",
    "dots": "..",
    "two parts": GOOD.rpartition(".")[0],
    "four parts": GOOD + ".AAAA",
    "five parts, as if encrypted": f"{GOOD}.AAAA.AAAA",
    "a space before": " " + GOOD,
    "a line after": GOOD + "\n",
    "padded": GOOD + "=",
    "of the other base64": GOOD.replace("-", "+").replace("_", "/") + "+",
    "a length that base64 does not have": "A." + GOOD.partition(".")[2],
    "other letters": GOOD[:-1] + "\u0130",
    "half a character": GOOD + "\ud800",
    "a zero byte": GOOD + "\0",
    "too long": forge(header(), claims(sub="x" * 4_096)),
    "far too long": "A" * 10_000_000,
}


@pytest.mark.parametrize("token", SECRET_ATTACKS.values(), ids=SECRET_ATTACKS)
async def test_a_bad_token_of_the_secret_is_refused(token: str) -> None:
    """Each by its own, with nothing but `TokenRefused`."""
    with pytest.raises(TokenRefused):
        await of_secret().verify(token)


def own_pair(**fields: Any) -> str:
    """Signed with a key of the attacker's, which the header brings or names."""
    return jwt.encode(claims(), pair("own"), "ES256", headers={"kid": "RS256", **fields})


PROVIDER_ATTACKS = {
    "public RSA key as HMAC's, PEM": lambda: forge(header(kid="RS256"), claims(), public_pem()),
    "public RSA key as HMAC's, its JWK": lambda: forge(
        header(kid="RS256"), claims(), json.dumps(jwk("RS256")).encode()
    ),
    "public RSA key as HMAC's, its modulus": lambda: forge(
        header(kid="RS256"), claims(), base64.urlsafe_b64decode(jwk("RS256")["n"] + "==")
    ),
    "public Ed25519 key as HMAC's": lambda: forge(
        header(kid="EdDSA"), claims(), base64.urlsafe_b64decode(jwk("EdDSA")["x"] + "=")
    ),
    "no algorithm": lambda: forge(header(alg="none", kid="RS256"), claims()),
    "another algorithm of the same key": lambda: signed(claims(), "RS512", kid="RS256"),
    "the other padding": lambda: signed(claims(), "PS256", kid="RS256"),
    "the other padding, the other way": lambda: signed(claims(), "RS256", kid="PS256"),
    "another key of the set": lambda: signed(claims(), "ES256", kid="RS256"),
    "another curve": lambda: signed(claims(), "ES384", kid="ES256"),
    "a zero signature": lambda: (
        signed(claims(), "ES256").rpartition(".")[0] + "." + segment(b"\0" * 64)
    ),
    "an empty signature": lambda: signed(claims(), "RS256").rpartition(".")[0] + ".",
    "a key that comes along": lambda: own_pair(jwk=jwk("own", kid="RS256")),
    "a key at an address of the attacker's": lambda: own_pair(jku="http://127.0.0.1:1/keys"),
    "a certificate at an address": lambda: own_pair(x5u="http://127.0.0.1:1/certificate"),
    "a certificate that comes along": lambda: own_pair(x5c=["MIIB"]),
    "of another audience of the provider's": lambda: signed(claims(aud="mail")),
    "of another provider": lambda: signed(claims(iss="https://other.example")),
    "expired": lambda: signed(claims(exp=NOW_S)),
}


@pytest.mark.parametrize("attack", PROVIDER_ATTACKS.values(), ids=PROVIDER_ATTACKS)
async def test_a_bad_token_of_a_provider_is_refused(attack: Any) -> None:
    """Each by its own, with nothing but `TokenRefused`."""
    with pytest.raises(TokenRefused):
        await of_provider().verify(attack())


async def test_a_reason_holds_nothing_of_the_token() -> None:
    """It goes to clients and into logs."""
    refused = []
    for token in SECRET_ATTACKS.values():
        with pytest.raises(TokenRefused) as caught:
            await of_secret().verify(token)
        refused.append(str(caught.value))
    for private in ("someone", "stack-2", KID, "passwd", "eyJ", str(NOW_S)):
        assert not [each for each in refused if private in each]
    assert max(map(len, refused)) < 80


async def test_what_the_library_says_is_left_out() -> None:
    """Its messages quote headers, and tracebacks show causes."""
    with pytest.raises(TokenRefused) as caught:
        await of_secret().verify(SECRET_ATTACKS["signed with another key"])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_the_signature_comes_before_the_claims() -> None:
    """Who cannot sign learns nothing about what would be asked."""
    with pytest.raises(TokenRefused, match="signature"):
        await of_secret().verify(forge(header(), claims(exp=1, aud="x"), OTHER_KEY))


async def test_without_keys_nobody_can_tell() -> None:
    """Whoever asks is told to come back."""

    async def read() -> keys.Keys:
        raise keys.KeysUnreadable("unreachable", "down")

    without = Verifier(
        Keyring(read, Counts()), Terms(issuer="statuswire", audience="stack-1"), clock=time.time
    )
    with pytest.raises(KeysUnavailable):
        await without.verify(GOOD)
    assert not without.is_ready


async def test_it_is_ready_with_its_keys() -> None:
    """For `/readyz`."""
    ready = of_secret()
    await ready.verify(GOOD)
    assert ready.is_ready


# What /watch-tokens issues, from the same secret.


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def secrets(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Secrets Manager, with the function's environment set for a secret in it."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "WATCH_URL": "wss://statuswire.example/v1/status",
        "WATCH_TOKEN_MINUTES": "15",
        "TOKEN_AUDIENCE": "stack-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("secretsmanager")
    secret = client.create_secret(
        Name=f"signing-key-{time.monotonic_ns()}", SecretString=json.dumps({"key": KEY})
    )
    monkeypatch.setenv("SIGNING_KEY_ARN", secret["ARN"])
    issuer.keys.cache_clear()
    yield client
    issuer.keys.cache_clear()


class Reader:
    """The consumer's side of the secret; `now_s` is its monotonic clock."""

    now_s = 0.0

    def __init__(self, client: Any, secret: str) -> None:
        keyring = Keyring(SecretKeys(client, secret).read, Counts(), clock=lambda: self.now_s)
        self.verifier = Verifier(
            keyring, Terms(issuer=issuer.ISSUER, audience="stack-1"), clock=lambda: NOW_S
        )


def issue() -> str:
    token: str = issuer.issue(["machine:express"], "caller", NOW_S)["token"]
    return token


def rotate(secrets: Any) -> None:
    """docs/deploy.md, "Rotate the signing key"; and the function has noticed."""
    key = {"key": f"{time.monotonic_ns():0>64}"}
    secret = issuer.keys()._secret
    secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(key))
    issuer.keys.cache_clear()


async def test_what_the_function_issues_is_taken(secrets: Any) -> None:
    """Both sides of the contract."""
    async with aioboto3.Session().client("secretsmanager") as client:
        reader = Reader(client, issuer.keys()._secret)
        granted = await reader.verifier.verify(issue())
    assert granted == Grant(frozenset({"machine:express"}), NOW_S + 900)


async def test_a_rotation_interrupts_nobody(secrets: Any) -> None:
    """The new key is taken at once, the last one still, the one before no more."""
    async with aioboto3.Session().client("secretsmanager") as client:
        reader = Reader(client, issuer.keys()._secret)
        issued = []
        for _ in range(3):
            issued.append(issue())
            reader.now_s += keys.RETRY_S
            assert await reader.verifier.verify(issued[-1])
            rotate(secrets)
        assert await reader.verifier.verify(issued[-2])
        with pytest.raises(TokenRefused, match="kid"):
            await reader.verifier.verify(issued[-3])


@pytest.mark.parametrize(
    ("ours", "its"),
    [
        (MAX_TOKEN_CHARS, issuer.MAX_TOKEN_CHARS),
        (MIN_HMAC_BYTES, issuer.MIN_KEY_BYTES),
        (grant.MAX_PATTERNS, issuer.MAX_PATTERNS),
        (watch.MAX_PATTERN_CHARS, issuer.MAX_PATTERN_CHARS),
    ],
)
def test_both_sides_have_the_same_bounds(ours: int, its: int) -> None:
    """What is issued is never too long, too much or too weakly signed to be read."""
    assert ours == its


# Whatever is sent.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "zip"]), JSON)
CLAIMS = st.dictionaries(st.sampled_from(sorted(claims())), JSON)


def judge(judged: Verifier, token: str) -> Grant | None:
    try:
        return asyncio.run(judged.verify(token))
    except TokenRefused:
        return None


@given(st.text(max_size=200) | st.binary(max_size=200).map(segment) | st.just(GOOD))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_good_token_or_refused(text: str) -> None:
    """Nothing else is raised, and the good one is the only one that passes."""
    assert judge(of_secret(), text) == (ALL if text == GOOD else None)


@given(FIELDS, CLAIMS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_header_and_claims_are_granted_or_refused(
    fields: dict[str, Any], changed: dict[str, Any], right_key: bool
) -> None:
    """Signed or not, whatever they say."""
    key = KEY.encode() if right_key else OTHER_KEY
    granted = judge(of_secret(), forge(header(**fields), claims() | changed, key))
    assert granted is None or right_key


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_signed_bytes_are_refused(head: bytes, payload: bytes) -> None:
    """Behind a good signature, too."""
    assert judge(of_secret(), forge(head, payload)) is None
    assert judge(of_secret(), forge(header(), payload)) is None
