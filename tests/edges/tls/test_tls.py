"""TLS on the consumer's own port, with certificates that change while it runs."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.client import connect

from consumer.core.limits import Limits
from consumer.edges.acceptor import Acceptor
from consumer.edges.tls import Certificates
from consumer.edges.websocket import Connection
from consumer.pipeline import Counts
from consumer.settings import BadSettings
from tests.edges.conftest import Service, read, rest, serving, until

AUTHORITY = trustme.CA()


class Files:
    """A certificate and its key, as an operator writes them."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"

    def write(self, pair: trustme.LeafCert, key: bytes | None = None) -> None:
        self.write_certificate(pair)
        self.key.write_bytes(pair.private_key_pem.bytes() if key is None else key)

    def write_certificate(self, pair: trustme.LeafCert) -> None:
        self.certificate.write_bytes(b"".join(each.bytes() for each in pair.cert_chain_pems))


def issue() -> trustme.LeafCert:
    return AUTHORITY.issue_cert("127.0.0.1")


def mark(pair: trustme.LeafCert) -> str:
    """Which certificate it is."""
    encoded = ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode())
    return hashlib.sha256(encoded).hexdigest()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
async def secured(tmp_path: Path, files: Files) -> AsyncIterator[Service]:
    files.write(issue())
    counts = Counts()
    certificates = Certificates(files.certificate, files.key, counts)
    limits = Limits(handshake_s=1.0)
    async with serving(tmp_path, limits=limits, certificates=certificates) as service:
        yield service


async def watch(service: Service) -> Any:
    """A client that has been welcomed over TLS."""
    url = service.url.replace("ws://", "wss://")
    client = await connect(url, ssl=trusting())
    service.closing.push_async_callback(client.close)
    assert (await read(client))["op"] == "welcome"
    return client


def shown(client: Any) -> str:
    """The certificate that the server showed."""
    encoded = client.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return hashlib.sha256(encoded).hexdigest()


async def test_others_may_listen_on_the_same_port(secured: Service) -> None:
    """Who comes when they have gone finds us."""
    certificates = secured.server.door.certificates
    assert certificates is not None
    acceptor = Acceptor(secured.server.door, certificates, partial(Connection, secured.server))
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        secured.port = other.getsockname()[1]
        await acceptor.listen("127.0.0.1", secured.port, reuse_port=True)
    secured.closing.callback(acceptor.close)
    await watch(secured)


async def test_a_new_pair_counts_from_then_on(secured: Service, files: Files) -> None:
    """New handshakes get it; connections that are open stay."""
    certificates = secured.server.door.certificates
    assert certificates is not None
    old = await watch(secured)
    pair = issue()
    files.write(pair)
    certificates.refresh()
    assert shown(await watch(secured)) == mark(pair) != shown(old)
    await old.send('{"op":"ping","id":"1"}')
    while (told := await read(old))["op"] == "heartbeat":
        pass
    assert told == {"op": "pong", "id": "1"}


async def test_half_of_a_pair_is_kept_out(secured: Service, files: Files) -> None:
    """A certificate without its key changes nothing, is counted once, and counts with its key."""
    certificates = secured.server.door.certificates
    assert certificates is not None
    before = shown(await watch(secured))
    pair = issue()
    files.write_certificate(pair)
    for _ in range(3):
        certificates.refresh()
    assert shown(await watch(secured)) == before
    assert certificates._counts["tls_reloads", "failed"] == 1
    files.key.write_bytes(pair.private_key_pem.bytes())
    certificates.refresh()
    assert shown(await watch(secured)) == mark(pair)
    assert certificates._counts["tls_reloads", "done"] == 1


async def test_files_that_are_gone_change_nothing(secured: Service, files: Files) -> None:
    """The pair in use stays."""
    certificates = secured.server.door.certificates
    assert certificates is not None
    files.key.unlink()
    certificates.refresh()
    await watch(secured)
    assert certificates._counts["tls_reloads", "failed"] == 1


async def test_plain_http_on_the_tls_port_is_ended(secured: Service) -> None:
    """Nothing is answered in the clear; others go on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", secured.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await rest(reader)
    writer.close()
    await watch(secured)
    assert secured.counts["connections_refused", "tls"] == 1


async def test_a_tls_handshake_has_its_time(secured: Service) -> None:
    """Silence before TLS is a half-open connection like any other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", secured.port)
    await until(lambda: secured.server.door.half_open)
    assert not await rest(reader)
    writer.close()
    await until(lambda: not secured.server.connections)
    assert not secured.server.door.half_open
    assert secured.counts["connections_refused", "handshake_time"] == 1


async def test_who_waits_with_tls_makes_room(tmp_path: Path, files: Files) -> None:
    """The door counts before TLS: the oldest half-open one is dropped; a drain drops the rest."""
    files.write(issue())
    certificates = Certificates(files.certificate, files.key, Counts())
    limits = Limits(half_open=1)
    async with serving(tmp_path, limits=limits, certificates=certificates) as service:
        streams = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
        assert not await rest(streams[0][0])
        assert service.counts["connections_refused", "half_open"] == 1
        await service.server.drain()
        assert not await rest(streams[1][0])
        for _, writer in streams:
            writer.close()


async def test_too_many_at_once_cost_no_tls(tmp_path: Path, files: Files) -> None:
    """Past the rate a connection is closed before its handshake."""
    files.write(issue())
    certificates = Certificates(files.certificate, files.key, Counts())
    limits = Limits(handshakes_per_s=1)
    async with serving(tmp_path, limits=limits, certificates=certificates) as service:
        await watch(service)
        opening = (asyncio.open_connection("127.0.0.1", service.port) for _ in range(20))
        streams = await asyncio.gather(*opening)
        ends = [asyncio.create_task(rest(reader)) for reader, _ in streams]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert {end.result() for end in ends if end.done()} == {b""}
        assert service.counts["connections_refused", "rate"] >= 1
        for (_, writer), end in zip(streams, ends, strict=True):
            end.cancel()
            writer.close()
        await asyncio.gather(*ends, return_exceptions=True)


async def test_older_tls_is_refused(secured: Service) -> None:
    """TLS 1.1 and before are broken (RFC 8996)."""
    certificates = secured.server.door.certificates
    assert certificates is not None
    assert certificates.context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_the_dashboard_is_served_over_tls(secured: Service) -> None:
    """Whole, and with a proper end: without one a page could be cut short unnoticed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", secured.port, ssl=trusting())
    writer.write(b"GET /dashboard/dashboard.js HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    writer.close()


def test_a_pair_that_fits_is_taken(files: Files) -> None:
    """At the start."""
    files.write(issue())
    assert Certificates(files.certificate, files.key, Counts()).context


def _with_passphrase(pair: trustme.LeafCert) -> bytes:
    key = serialization.load_pem_private_key(pair.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


PAIR = issue()


@pytest.mark.parametrize(
    ("certificate", "key", "setting"),
    [
        (PAIR, issue().private_key_pem.bytes(), "TLS_KEY"),
        (PAIR, b"", "TLS_KEY"),
        (PAIR, PAIR.private_key_pem.bytes()[:100], "TLS_KEY"),
        (PAIR, _with_passphrase(PAIR), "TLS_KEY"),
        (b"", PAIR.private_key_pem.bytes(), "TLS_CERTIFICATE"),
        (PAIR.cert_chain_pems[0].bytes()[:300], b"", "TLS_CERTIFICATE"),
        (None, b"", "TLS_CERTIFICATE"),
    ],
    ids=["other key", "empty key", "half key", "passphrase", "empty", "half", "missing"],
)
def test_files_of_no_use_are_refused_at_the_start(
    files: Files, certificate: trustme.LeafCert | bytes | None, key: bytes, setting: str
) -> None:
    """Naming the setting, for the operator."""
    if isinstance(certificate, trustme.LeafCert):
        files.write(certificate, key)
    elif certificate is not None:
        files.certificate.write_bytes(certificate)
        files.key.write_bytes(key)
    with pytest.raises(BadSettings) as refusal:
        Certificates(files.certificate, files.key, Counts())
    assert refusal.value.problems[0].startswith(f"STATUSWIRE_{setting}: ")
