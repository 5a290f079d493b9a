"""Checks of what viewers meet: ports, TLS files, the keys of tokens, the REST API."""

import asyncio
import errno
import ipaddress
import json
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
from cryptography import x509

from consumer.edges import aws
from consumer.edges.keys import KeysUnreadable, PublishedKeys
from consumer.edges.signed import MIN_HMAC_BYTES
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, skipped, warning
from consumer.operator.scene import DENIED, Scene
from consumer.settings import PREFIX

EXPIRES_SOON: Final = timedelta(days=14)
LOCAL: Final = aiohttp.ClientTimeout(total=3)  # a consumer on this machine answers at once
FIRST_FREE_PORT: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


async def http_port(scene: Scene) -> list[Finding]:
    """Dashboard and WebSockets."""
    chosen = scene.settings
    scheme = "https" if chosen.tls_certificate else "http"
    return [await _port("PORT", chosen.host, chosen.port, f"{scheme}://{{}}/healthz", b"ok\n")]


async def metrics_port(scene: Scene) -> list[Finding]:
    """Prometheus'."""
    host, port = scene.settings.metrics_host, scene.settings.metrics_port
    return [await _port("METRICS_PORT", host, port, "http://{}/metrics", b"statuswire_")]


async def _port(name: str, host: str, port: int, address: str, ours: bytes) -> Finding:
    if port == 0:
        return ok("the system chooses a free one")
    if refused := _cannot_bind(host, port):
        return error(
            f"port {port} of {host} cannot be had: {refused}",
            "The consumer would not start.",
            f"Another {PREFIX}{name} or {PREFIX}{name.replace('PORT', 'HOST')}.",
        )
    try:
        _, writer = await asyncio.open_connection(_reachable(host), port)
    except OSError:
        return ok(f"port {port} is free")
    writer.close()
    if ours in await _body(address.format(f"{_bracketed(_reachable(host))}:{port}")):
        return ok(f"a running consumer holds port {port}")
    return error(
        f"another program listens on port {port}",
        "The consumer would not start.",
        f"End it (`ss -ltnp 'sport = :{port}'` names it), or another {PREFIX}{name}.",
    )


def _cannot_bind(host: str, port: int) -> str:
    """Why not, or nothing. The address is tried with a port that the system chooses."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as trial:
            trial.bind(address)
        first_free = int(FIRST_FREE_PORT.read_text())
    except (OSError, ValueError) as failure:
        if isinstance(failure, OSError) and failure.errno == errno.ENOENT:
            first_free = 1024
        else:
            return getattr(failure, "strerror", None) or type(failure).__name__
    return "it needs a privilege" if port < first_free and os.geteuid() != 0 else ""


def _reachable(host: str) -> str:
    """Where an address that means all of them is reached from here."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _body(url: str) -> bytes:
    try:
        async with (
            aiohttp.ClientSession(timeout=LOCAL) as http,
            http.get(url, ssl=False, allow_redirects=False) as answer,
        ):
            return await answer.content.read(1 << 20)
    except aws.FAILURES:
        return b""


def _patience(scene: Scene) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=scene.check_s * 0.5)


async def tls(scene: Scene) -> list[Finding]:
    """A pair that belongs together, and is good for a while."""
    certificate, key = scene.settings.tls_certificate, scene.settings.tls_key
    if certificate is None or key is None:
        return [ok("plain HTTP")]
    renew = f"Renew {certificate}; the running consumer reads it again by itself."
    try:
        key.read_bytes()  # which names the file that is not there; OpenSSL does not
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as failure:
        return [
            error(
                f"the TLS files cannot be used: {getattr(failure, 'reason', None) or failure}",
                "A PEM certificate, chain included, and its own key without a passphrase.",
                f"{PREFIX}TLS_CERTIFICATE and {PREFIX}TLS_KEY: files that belong together.",
            )
        ]
    now, until = datetime.fromtimestamp(scene.now_s(), UTC), first.not_valid_after_utc
    told = f"It is good from {first.not_valid_before_utc:%F} until {until:%F}."
    found = []
    if not first.not_valid_before_utc <= now < until:
        found.append(error("the TLS certificate is not valid today", told, renew))
    elif until - now < EXPIRES_SOON:
        left = f"the TLS certificate expires in {(until - now).days} days"
        found.append(warning(left, told, renew))
    if key.stat().st_mode & 0o077:
        others = "Other users of this machine can read it or change it."
        found.append(warning(f"{key} is open to others", others, f"chmod 600 {key}"))
    return found or [ok(f"the TLS certificate is good until {until:%F}")]


async def signing_secret(scene: Scene) -> list[Finding]:
    """Readable, and a key that is long enough. What is in it is never shown."""
    arn = scene.settings.signing_secret
    if arn is None:
        return [ok("no signing secret is set")]
    try:
        client = await scene.client("secretsmanager")
        answer = await client.get_secret_value(SecretId=arn)
        key = json.loads(answer["SecretString"])["key"]
        usable = isinstance(key, str) and len(key.encode()) >= MIN_HMAC_BYTES
    except aws.FAILURES as failure:
        if (name := aws.name_of(failure)) not in ("KeyError", "TypeError", "JSONDecodeError"):
            return [_unreadable(name)]
        usable = False
    if usable:
        return [ok("the signing secret can be read and used")]
    return [
        error(
            "the signing secret is no key",
            f'It must be {{"key": "…"}}, with at least {MIN_HMAC_BYTES} bytes: no token would be '
            "good.",
            'Put a new value: "Rotate the signing key" in docs/deploy.md.',
        )
    ]


def _unreadable(name: str) -> Finding:
    if name in DENIED:
        fix = (
            "Attach the stack's ConsumerPolicyArn to this role, and deploy with its ARN as "
            "ConsumerRoleArn if the stack names one."
        )
    else:
        fix = f"{PREFIX}SIGNING_SECRET: the stack's output SigningKeyArn, in this region."
    unread = f"the signing secret cannot be read: {name}"
    return error(unread, "No token could be verified, so nobody could watch.", fix)


async def jwks(scene: Scene) -> list[Finding]:
    """The provider's keys are there, and one can verify a token, as the consumer judges it."""
    url = scene.settings.jwks_url
    if url is None:
        return [ok("no identity provider is set")]
    try:
        async with aiohttp.ClientSession(timeout=_patience(scene)) as http:
            usable = await PublishedKeys(http, url).read()
    except KeysUnreadable as failure:
        fix = f"{PREFIX}JWKS_URL: the jwks_uri of <issuer>/.well-known/openid-configuration."
        unread = f"the provider's keys cannot be used: {failure}"
        nobody = "No token could be verified, so nobody could watch. docs/security.md: which can."
        return [error(unread, nobody, fix)]
    return [ok(f"{len(usable)} of the provider's keys can be used")]


async def rest(scene: Scene) -> list[Finding]:
    """Any answer will do: without a signature it is 403."""
    url = scene.settings.rest_url
    if url is None:
        return [skipped("no REST API is set: the dashboard has no buttons")]
    try:
        async with (
            aiohttp.ClientSession(timeout=_patience(scene), trust_env=True) as http,
            http.get(url, allow_redirects=False) as answer,
        ):
            return [ok(f"the REST API answers ({answer.status})")]
    except aws.FAILURES as failure:
        return [
            warning(
                f"the REST API cannot be reached: {type(failure).__name__}",
                "From here; what counts is whether the viewers' browsers reach it.",
                f"{PREFIX}REST_URL: the stack's output RestApiUrl, stage included.",
            )
        ]


CHECKS: Final = (
    Check("port.http", http_port),
    Check("port.metrics", metrics_port),
    Check("tls.files", tls),
    Check("token.secret", signing_secret, needs=("aws.credentials",)),
    Check("token.jwks", jwks),
    Check("rest.reach", rest),
)
