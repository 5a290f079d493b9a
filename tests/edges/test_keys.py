"""Keys for tokens: read from Secrets Manager (moto's) or a provider (a real server), kept fresh."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aioboto3
import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from moto.server import ThreadedMotoServer

from consumer.edges import keys
from consumer.edges.keys import (
    Keyring,
    Keys,
    KeysUnavailable,
    KeysUnreadable,
    PublishedKeys,
    SecretKeys,
)
from consumer.pipeline import Counts
from tests.edges import issuers
from tests.edges.issuers import jwk, key_set


class Source:
    """Gives the keys it has been told, or fails, when its gate is open; counts how often."""

    def __init__(self, *kids: str) -> None:
        self.kids: tuple[str, ...] = kids
        self.error: Exception | None = None
        self.reads = 0
        self.began: asyncio.Queue[None] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.now_s = 1_000.0
        self.counts = Counts()
        self.keyring = Keyring(self.read, self.counts, clock=lambda: self.now_s)

    async def read(self) -> Keys:
        self.reads += 1
        self.began.put_nowait(None)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {kid: issuers.secret_key() for kid in self.kids}


async def until(reads: int, source: Source) -> None:
    async with asyncio.timeout(10):
        while source.reads < reads:
            await source.began.get()


# The keyring.


async def test_it_is_ready_once_keys_were_read() -> None:
    """And not before."""
    source = Source("a")
    assert not source.keyring.is_ready
    assert await source.keyring.find("a")
    assert source.keyring.is_ready


async def test_keys_are_read_again_and_again_in_the_background() -> None:
    """A key that was rotated away ends, without anybody asking for it."""
    source = Source("old")
    keyring = Keyring(source.read, source.counts, refresh_s=0, retry_s=0)
    task = asyncio.create_task(keyring.run())
    await until(2, source)
    source.kids = ("new",)
    await until(source.reads + 2, source)
    assert await keyring.find("old") is None
    assert await keyring.find("new")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_read_that_failed_is_tried_again_sooner() -> None:
    """An outage lasts no longer than it does."""
    source = Source("a")
    source.error = KeysUnreadable("unreachable", "down")
    keyring = Keyring(source.read, source.counts, refresh_s=3_600, retry_s=0)
    task = asyncio.create_task(keyring.run())
    await until(2, source)
    source.error = None
    async with asyncio.timeout(10):
        while not keyring.is_ready:
            await source.began.get()
    reads = source.reads
    for _ in range(50):
        await asyncio.sleep(0)
    assert source.reads == reads, "and one that did not, after a minute"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_unknown_key_is_looked_for_at_once() -> None:
    """It may be new."""
    source = Source("a")
    await source.keyring.find("a")
    source.kids = ("a", "b")
    source.now_s += keys.RETRY_S
    assert await source.keyring.find("b")
    assert source.reads == 2


async def test_a_flood_of_unknown_keys_reads_once() -> None:
    """Per 10 s, whatever is asked."""
    source = Source("a")
    for number in range(1_000):
        assert await source.keyring.find(f"forged-{number}") is None
    assert source.reads == 1
    source.now_s += keys.RETRY_S
    assert await source.keyring.find("forged") is None
    assert source.reads == 2


async def test_those_who_ask_together_share_a_read() -> None:
    """Also those who come while it is under way."""
    source = Source("a")
    source.gate.clear()
    asking = [asyncio.create_task(source.keyring.find("a")) for _ in range(50)]
    await until(1, source)
    source.now_s += keys.RETRY_S
    asking.append(asyncio.create_task(source.keyring.find("a")))
    await asyncio.sleep(0)
    source.gate.set()
    assert all(await asyncio.gather(*asking))
    assert source.reads == 1


async def test_one_who_goes_away_does_not_end_the_read_of_the_others() -> None:
    """A client that hangs up while it waits."""
    source = Source("a")
    source.gate.clear()
    leaves, stays = (asyncio.create_task(source.keyring.find("a")) for _ in range(2))
    await until(1, source)
    leaves.cancel()
    source.gate.set()
    assert await stays


async def test_the_end_of_the_keyring_ends_a_read_under_way() -> None:
    """So that a shutdown leaves nothing behind."""
    source = Source("a")
    source.gate.clear()
    before = asyncio.all_tasks()
    task = asyncio.create_task(source.keyring.run())
    await until(1, source)
    task.cancel()
    ended = await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 2


async def test_the_last_good_keys_outlive_an_outage() -> None:
    """Tokens of known keys go on being verified."""
    source = Source("a")
    await source.keyring.find("a")
    source.error = KeysUnreadable("unreachable", "down")
    source.now_s += keys.KEPT_S - 1
    await refresh(source)
    assert await source.keyring.find("a")
    assert source.keyring.is_ready


async def refresh(source: Source) -> None:
    with pytest.raises(KeysUnavailable):
        await source.keyring.find("unknown")


async def test_the_last_good_keys_do_not_outlive_an_hour() -> None:
    """Who keeps us from the source must not keep a revoked key alive."""
    source = Source("a")
    await source.keyring.find("a")
    source.error = KeysUnreadable("unreachable", "down")
    source.now_s += keys.KEPT_S
    with pytest.raises(KeysUnavailable):
        await source.keyring.find("a")
    assert not source.keyring.is_ready


async def test_keys_are_as_old_as_the_question_for_them() -> None:
    """An answer that was long on its way may be of its beginning."""
    source = Source("a")
    source.gate.clear()
    asking = asyncio.create_task(source.keyring.find("a"))
    await until(1, source)
    source.now_s += keys.KEPT_S - 1
    source.gate.set()
    assert await asking
    source.now_s += 1
    assert not source.keyring.is_ready


async def test_keys_that_are_too_old_are_read_again_for_who_asks() -> None:
    """Nobody has to wait for the next minute."""
    source = Source("a")
    await source.keyring.find("a")
    source.now_s += keys.KEPT_S
    assert await source.keyring.find("a")
    assert source.reads == 2


async def test_after_an_outage_all_is_well_again() -> None:
    """With the next read."""
    source = Source("a")
    source.error = KeysUnreadable("unreachable", "down")
    await refresh(source)
    source.error = None
    source.now_s += keys.RETRY_S
    assert await source.keyring.find("a")
    assert await source.keyring.find("unknown") is None


async def test_an_unknown_key_in_an_outage_may_be_good() -> None:
    """It may be the newest: its bearer is told to come back rather than to go away."""
    source = Source("a")
    await source.keyring.find("a")
    source.error = KeysUnreadable("unreachable", "down")
    source.now_s += keys.RETRY_S
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await source.keyring.find("b")
    assert source.reads == 2


@pytest.mark.parametrize("kind", ["unreachable", "unusable"])
async def test_a_failed_read_is_logged_and_counted(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By what the operator must look at."""
    source = Source()
    source.error = KeysUnreadable(kind, "the reason")
    await refresh(source)
    assert source.counts["token_errors", kind] == 1
    assert [vars(record)["reason"] for record in caplog.records] == ["the reason"]


async def test_new_keys_are_logged_by_their_ids(caplog: pytest.LogCaptureFixture) -> None:
    """An operator sees a rotation arrive; the same keys again are no news."""
    caplog.set_level(logging.INFO)
    source = Source("a")
    for _ in range(2):
        await source.keyring.find("unknown")
        source.now_s += keys.RETRY_S
    assert [vars(record)["kids"] for record in caplog.records] == [["a"]]
    assert issuers.KEY not in caplog.text


async def test_a_source_that_does_not_answer_is_given_up() -> None:
    """Within what a client's handshake may take."""
    source = Source("a")
    source.gate.clear()
    keyring = Keyring(source.read, source.counts, patience_s=0.01)
    with pytest.raises(KeysUnavailable):
        await keyring.find("a")
    assert source.counts["token_errors", "unreachable"] == 1


def test_the_times_that_the_documents_promise() -> None:
    """docs/security.md: a minute, 10 s, an hour, 8 s."""
    promised = (keys.REFRESH_S, keys.RETRY_S, keys.KEPT_S, keys.PATIENCE_S)
    assert promised == (60, 10, 3_600, 8)


# The secret.


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
async def secrets(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    session = aioboto3.Session(region_name="us-east-1")
    async with session.client("secretsmanager", endpoint_url=endpoint) as client:
        yield client


@pytest.fixture
async def secret(secrets: Any, request: pytest.FixtureRequest) -> str:
    """A secret without a version."""
    created = await secrets.create_secret(Name=f"key-{abs(hash(request.node.name))}")
    arn: str = created["ARN"]
    return arn


async def put(secrets: Any, secret: str, value: str | None = None) -> str:
    value = json.dumps({"key": issuers.KEY}) if value is None else value
    answer = await secrets.put_secret_value(SecretId=secret, SecretString=value)
    version: str = answer["VersionId"]
    return version


async def test_a_secret_that_was_never_rotated_has_one_key(secrets: Any, secret: str) -> None:
    """Named by its version; that nothing is AWSPREVIOUS is no failure."""
    version = await put(secrets, secret)
    assert (await SecretKeys(secrets, secret).read()).keys() == {version}


async def test_the_last_two_versions_verify(secrets: Any, secret: str) -> None:
    """AWSCURRENT and AWSPREVIOUS; older ones no more."""
    _, previous, current = [await put(secrets, secret) for _ in range(3)]
    assert (await SecretKeys(secrets, secret).read()).keys() == {previous, current}


UNUSABLE = [
    "", "PRIVATE", "[]", "null", "{}", '{"key": 1}', '{"key": null}', '{"key": "PRIVATE"}',
    '{"key": "' + "\\ud800" * 40 + '"}', "[" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("value", UNUSABLE)
async def test_a_secret_that_holds_no_key_is_unusable(
    secrets: Any, secret: str, value: str
) -> None:
    """Or a short one, which may be guessed; nothing of it is told."""
    await put(secrets, secret, value or " ")
    with pytest.raises(KeysUnreadable) as caught:
        await SecretKeys(secrets, secret).read()
    assert caught.value.kind == "unusable"
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize(("chars", "is_key"), [(31, False), (32, True)])
async def test_a_key_has_as_many_bytes_as_its_hash(
    secrets: Any, secret: str, chars: int, is_key: bool
) -> None:
    """One byte less is refused."""
    version = await put(secrets, secret, json.dumps({"key": "k" * chars}))
    if is_key:
        found = await SecretKeys(secrets, secret).read()
        assert {kid: key.algorithm_name for kid, key in found.items()} == {version: "HS256"}
    else:
        with pytest.raises(KeysUnreadable):
            await SecretKeys(secrets, secret).read()


class Rotated:
    """Secrets Manager, with a rotation behind the first call."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get_secret_value(self, *, VersionStage: str, **_: Any) -> dict[str, str]:  # noqa: N803
        self.asked.append(VersionStage)
        return {
            "VersionId": {"AWSCURRENT": "1", "AWSPREVIOUS": "1"}[VersionStage],
            "SecretString": json.dumps({"key": issuers.KEY}),
        }


async def test_a_rotation_between_two_calls_hides_the_newest_key_only() -> None:
    """Its first token makes us read again; asked the other way round, the last one's would fail."""
    source: Any = Rotated()
    assert (await SecretKeys(source, "secret").read()).keys() == {"1"}
    assert source.asked == ["AWSCURRENT", "AWSPREVIOUS"]


async def test_a_version_without_a_key_does_not_spoil_the_other(secrets: Any, secret: str) -> None:
    """A slip of the operator's, mended or not."""
    good = await put(secrets, secret)
    await put(secrets, secret, "not a key")
    assert (await SecretKeys(secrets, secret).read()).keys() == {good}


async def test_a_secret_that_is_not_there_is_unreachable(secrets: Any) -> None:
    """The operator is told what the service said."""
    with pytest.raises(KeysUnreadable, match="ResourceNotFoundException") as caught:
        await SecretKeys(secrets, "no-such-secret").read()
    assert caught.value.kind == "unreachable"


async def test_a_service_that_is_not_there_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """No connection, no keys."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    session = aioboto3.Session(region_name="us-east-1")
    nowhere = f"http://127.0.0.1:{unused_tcp_port}"
    async with session.client("secretsmanager", endpoint_url=nowhere) as client:
        with pytest.raises(KeysUnreadable) as caught:
            await SecretKeys(client, "secret").read()
    assert caught.value.kind == "unreachable"


# A provider's published keys.


@pytest.mark.parametrize(
    ("name", "alg", "bound_to"),
    [
        ("RS256", None, "RS256"),
        ("RS256", "RS256", "RS256"),
        ("RS256", "RS512", "RS512"),
        ("RS256", "PS256", "PS256"),
        ("ES256", None, "ES256"),
        ("ES384", None, "ES384"),
        ("ES512", None, "ES512"),
        ("EdDSA", None, "EdDSA"),
        ("EdDSA", "EdDSA", "EdDSA"),
        ("Ed448", None, "EdDSA"),
    ],
)
def test_a_published_key_is_bound_to_one_algorithm(
    name: str, alg: str | None, bound_to: str
) -> None:
    """The one it names, else its type's."""
    found = keys.keys_in(key_set(jwk(name, alg=alg)))
    assert {kid: key.algorithm_name for kid, key in found.items()} == {name: bound_to}


def private(name: str) -> dict[str, Any]:
    written: dict[str, Any] = RSAAlgorithm.to_jwk(issuers.pair(name), as_dict=True)
    return {**written, "kid": "private", "key_ops": ["verify"], "use": "sig"}


def short() -> dict[str, Any]:
    public = rsa.generate_private_key(65_537, 1_024).public_key()  # noqa: S505 # that is what it is for
    return {**RSAAlgorithm.to_jwk(public, as_dict=True), "kid": "short"}


IGNORED = [
    {"kty": "oct", "k": issuers.segment(issuers.KEY.encode()), "kid": "x"},
    {"kty": "oct", "k": issuers.segment(issuers.KEY.encode()), "kid": "x", "alg": "HS256"},
    {"kty": "oct", "k": issuers.segment(issuers.KEY.encode()), "kid": "x", "crv": "P-256"},
    jwk(use="enc"), jwk(use=["sig"]), jwk(key_ops=["encrypt"]), jwk(key_ops="verify"),
    jwk(kid=None), jwk(kid=1), jwk(kid=["x"]),
    jwk(alg="HS256"), jwk(alg="none"), jwk(alg="ES256"), jwk(alg="RSA-OAEP"), jwk(alg=["RS256"]),
    jwk("ES256", alg="ES384"), jwk("ES256", alg="RS256"), jwk("ES256", crv="P-384"),
    jwk("ES256", crv="secp256k1"), jwk("ES256", crv=None), jwk("ES256", kty="RSA"),
    jwk("ES256", x=jwk("ES256")["y"]),
    jwk("EdDSA", crv="X25519"), jwk("EdDSA", x="AAAA"), jwk("EdDSA", kty="EC"),
    jwk(n=None), jwk(n=7), jwk(n="!"), jwk(e="AA"), jwk(crv="P-256"), jwk(kty={}), {},
    private("RS256"), short(), None, 1, "key", ["key"],
]  # fmt: skip


@pytest.mark.parametrize("each", IGNORED)
def test_a_key_that_is_of_no_use_is_left_out(each: Any) -> None:
    """It does not spoil the others: symmetric, private, for encryption, short, or none at all."""
    assert keys.keys_in(key_set(each, jwk("EdDSA", kid="good"))).keys() == {"good"}


def of_bits(bits: int) -> dict[str, Any]:
    """An RSA key that was never made: whether it is one is for who signs to know."""
    public = rsa.RSAPublicNumbers(65_537, (1 << bits) - 1).public_key()
    return {**RSAAlgorithm.to_jwk(public, as_dict=True), "kid": str(bits)}


def test_an_rsa_key_has_bits_enough_and_not_too_many() -> None:
    """2,048, as RFC 7518 asks for, to 8,192, above which verifying costs too much."""
    listed = [of_bits(bits) for bits in (2_047, 2_048, 8_192, 8_193)]
    assert keys.keys_in(key_set(*listed)).keys() == {"2048", "8192"}


def test_a_set_has_room_for_fifty_keys() -> None:
    """Providers publish some two to ten."""
    fifty = [jwk("EdDSA", kid=str(number)) for number in range(50)]
    assert len(keys.keys_in(key_set(*fifty))) == 50
    with pytest.raises(KeysUnreadable):
        keys.keys_in(key_set(*fifty, jwk()))


def test_the_first_key_of_an_id_counts() -> None:
    """Nobody who can add a key takes another one's place."""
    found = keys.keys_in(key_set(jwk("ES256", kid="x"), jwk("RS256", kid="x")))
    assert found["x"].algorithm_name == "ES256"


@pytest.mark.parametrize(
    "document",
    [
        b"", b"<html>", b"\xff", b"null", b"[]", b"[1]", b"1", b'"keys"',
        b"{}", b'{"keys": {}}', b'{"keys": []}',
        b"[" * 100_000, key_set(jwk(use="enc")), key_set(*[jwk()] * (keys.MAX_KEYS + 1)),
    ],
)  # fmt: skip
def test_a_document_that_is_no_key_set_is_unusable(document: bytes) -> None:
    """Or one without a usable key, or with too many."""
    with pytest.raises(KeysUnreadable) as caught:
        keys.keys_in(document)
    assert caught.value.kind == "unusable"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.sampled_from([jwk(), jwk("ES256"), jwk("EdDSA")]),
    st.sampled_from(["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y", "key_ops", "d"]),
    JSON | st.sampled_from(["AQAB", "AA", "RSA", "EC", "OKP", "P-256", "RS256", "HS256"]),
)
def test_a_key_of_any_shape_is_taken_or_left_out(
    good: dict[str, Any], name: str, value: Any
) -> None:
    """Nothing but `KeysUnreadable` is raised, and no key for HMAC comes out."""
    try:
        found = keys.keys_in(key_set({**good, name: value}))
    except KeysUnreadable:
        return
    assert all(isinstance(each, jwt.PyJWK) and each.key_type != "oct" for each in found.values())


class Provider:
    """A real server that publishes keys, or something else."""

    def __init__(self) -> None:
        self.document = key_set(jwk())
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        await self.gate.wait()
        return web.Response(body=self.document, status=self.status, headers=self.headers)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/{path:.*}", provider.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield provider
    provider.gate.set()
    await runner.cleanup()


@pytest.fixture
async def published(provider: Provider) -> AsyncIterator[PublishedKeys]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield PublishedKeys(session, f"{provider.url}/keys")


async def test_published_keys_are_read(published: PublishedKeys) -> None:
    """By their ids."""
    assert (await published.read()).keys() == {"RS256"}


async def test_a_rotation_of_the_provider_is_seen(
    provider: Provider, published: PublishedKeys
) -> None:
    """The next read has the new key, and no more the old one."""
    await published.read()
    provider.document = key_set(jwk("ES256"))
    assert (await published.read()).keys() == {"ES256"}


@pytest.mark.parametrize("status", [204, 304, 404, 429, 500])
async def test_an_answer_that_is_not_ok_brings_no_keys(
    provider: Provider, published: PublishedKeys, status: int
) -> None:
    """Whatever stands in its body."""
    provider.status = status
    with pytest.raises(KeysUnreadable, match=str(status)) as caught:
        await published.read()
    assert caught.value.kind == "unreachable"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    provider: Provider, published: PublishedKeys, status: int
) -> None:
    """Neither to plain HTTP nor to anywhere else."""
    provider.status = status
    provider.headers = {"Location": f"{provider.url}/elsewhere"}
    with pytest.raises(KeysUnreadable, match=str(status)):
        await published.read()
    assert provider.asked == ["/keys"]


async def test_a_document_may_have_256_kib(provider: Provider, published: PublishedKeys) -> None:
    """White space included."""
    provider.document = key_set(jwk()).ljust(256 * 1024)
    assert (await published.read()).keys() == {"RS256"}
    provider.document += b" "
    with pytest.raises(KeysUnreadable):
        await published.read()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_document_without_end_is_not_read_to_its_end(
    provider: Provider, published: PublishedKeys, encoding: str
) -> None:
    """Nor one that is small on its way and large once it is unpacked."""
    provider.document = b" " * (keys.MAX_DOCUMENT_BYTES + 1)
    if encoding == "gzip":
        provider.document = gzip.compress(provider.document)
        provider.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(KeysUnreadable, match="bytes") as caught:
        await published.read()
    assert caught.value.kind == "unusable"


async def test_a_page_instead_of_keys_is_unusable(
    provider: Provider, published: PublishedKeys
) -> None:
    """A login page, say, with status 200."""
    provider.document = b"<!doctype html><title>Sign in</title>"
    with pytest.raises(KeysUnreadable, match="JSON"):
        await published.read()


async def test_a_broken_answer_is_unreachable(provider: Provider, published: PublishedKeys) -> None:
    """One that is not packed as it says."""
    provider.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(KeysUnreadable) as caught:
        await published.read()
    assert caught.value.kind == "unreachable"


async def test_a_provider_that_is_not_there_is_unreachable(unused_tcp_port: int) -> None:
    """No connection, no keys."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(KeysUnreadable) as caught:
            await PublishedKeys(session, f"http://127.0.0.1:{unused_tcp_port}").read()
    assert caught.value.kind == "unreachable"


async def test_a_provider_that_never_answers_is_given_up(
    provider: Provider, published: PublishedKeys
) -> None:
    """And the next read finds it well again."""
    provider.gate.clear()
    counts = Counts()
    keyring = Keyring(published.read, counts, patience_s=0.05, retry_s=0)
    with pytest.raises(KeysUnavailable):
        await keyring.find("RS256")
    assert counts["token_errors", "unreachable"] == 1
    provider.gate.set()
    again = Keyring(published.read, counts)
    assert await again.find("RS256")
