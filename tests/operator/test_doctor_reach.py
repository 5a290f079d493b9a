"""What the doctor makes of the way to AWS, and of what viewers meet."""

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from consumer.operator import doors, reach
from consumer.operator.finding import Level
from tests.operator.doctor_checks import forget, serving, told
from tests.operator.doctor_stage import write_pair


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)


@pytest.fixture
def _ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


async def test_a_region_is_chosen() -> None:
    """By the environment or the configuration."""
    found = await told(reach.region, AWS_DEFAULT_REGION="")
    assert found.level is Level.ERROR
    assert (await told(reach.region, AWS_DEFAULT_REGION="eu-west-1")).level is Level.OK


async def test_queues_of_another_region_are_told() -> None:
    """By their addresses, before anything is asked."""
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/demo"
    found = await told(
        reach.region,
        AWS_DEFAULT_REGION="us-east-1",
        queue_url=f"{url}-status.fifo",
        service_queue_url="http://127.0.0.1:4566/123456789012/demo-service",
    )
    assert found.level is Level.ERROR
    assert "status queue is in another region than us-east-1" in found.title


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("http://sqs.invalid", "sqs cannot be reached: DNS fails"),
        ("http://127.0.0.1:1", "sqs cannot be reached: TCP fails"),
    ],
)
async def test_the_step_that_fails_is_told(url: str, title: str) -> None:
    """Each has another fix."""
    (check,) = [each.run for each in reach.CHECKS if each.id == "endpoint.sqs"]
    found = await told(check, AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=url)
    assert found.title == title


async def test_an_endpoint_that_speaks_no_tls_is_told() -> None:
    """A proxy that answers for it, or a wrong port."""
    (check,) = [each.run for each in reach.CHECKS if each.id == "endpoint.sqs"]
    async with serving(lambda _: web.Response()) as url:
        secure = url.replace("http:", "https:")
        found = await told(check, AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=secure)
    assert found.title == "sqs cannot be reached: TLS fails"


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(30, Level.OK), (100, Level.WARNING), (-400, Level.ERROR)]
)
async def test_the_clock_is_compared(ahead_s: int, level: Level) -> None:
    """With the Date header, ahead and behind."""
    date = {"Date": "Tue, 24 Nov 2026 00:00:00 GMT"}
    at_s = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    async with serving(lambda _: web.Response(headers=date)) as url:
        found = await told(
            reach.clock, now_s=at_s + ahead_s, AWS_DEFAULT_REGION="x", AWS_ENDPOINT_URL=url
        )
    assert found.level is level
    assert level is Level.OK or f"{abs(ahead_s)} s {'ahead' if ahead_s > 0 else 'behi'}" in (
        found.title
    )


@pytest.mark.parametrize(("body", "level"), [("ok\n", Level.OK), ("hello", Level.ERROR)])
async def test_a_port_is_held_by_us_or_by_others(body: str, level: Level) -> None:
    """A running consumer is no fault."""
    async with serving(lambda _: web.Response(text=body)) as url:
        found = await told(doors.http_port, port=url.rsplit(":", 1)[1])
    assert found.level is level


@pytest.mark.usefixtures("_ordinary_user")
async def test_a_port_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It needs a privilege; or the address is another machine's."""
    first_free = tmp_path / "first"
    first_free.write_text("1024\n")
    monkeypatch.setattr(doors, "FIRST_FREE_PORT", first_free)
    assert "it needs a privilege" in (await told(doors.http_port, port=443)).title
    assert doors._cannot_bind("192.0.2.1", 8080) != ""
    assert doors._cannot_bind("127.0.0.1", 8080) == ""


@pytest.mark.parametrize(("days", "level"), [(20, Level.OK), (7, Level.WARNING), (-1, Level.ERROR)])
async def test_certificates_expire(tmp_path: Path, days: int, level: Level) -> None:
    """Two weeks are time to act."""
    at = datetime.now(UTC)
    pair = write_pair(tmp_path, not_after=at + timedelta(days=10))
    now_s = (at + timedelta(days=10 - days)).timestamp()
    found = await told(doors.tls, now_s=now_s, tls_certificate=pair[0], tls_key=pair[1])
    assert found.level is level


async def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    """Nobody could connect."""
    certificate, _ = write_pair(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, key = write_pair(other)
    found = await told(doors.tls, tls_certificate=certificate, tls_key=key)
    assert found.level is Level.ERROR
    assert "cannot be used" in found.title


async def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    """It is the owner's alone."""
    certificate, key = write_pair(tmp_path)
    key.chmod(0o644)
    found = await told(doors.tls, tls_certificate=certificate, tls_key=key)
    assert found.fix == f"chmod 600 {key}"


async def test_a_tls_file_that_is_not_there(tmp_path: Path) -> None:
    """It is named."""
    certificate, _ = write_pair(tmp_path)
    gone = tmp_path / "gone.key"
    found = await told(doors.tls, tls_certificate=certificate, tls_key=gone)
    assert str(gone) in found.title


def public_key(**more: str) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {**jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True), **more}


@pytest.mark.parametrize(
    ("body", "level"),
    [
        (json.dumps({"keys": [public_key(kid="1", use="sig")]}), Level.OK),
        (json.dumps({"keys": [public_key(kid="1", use="enc")]}), Level.ERROR),
        (json.dumps({"keys": [public_key(use="sig")]}), Level.ERROR),  # the consumer finds no kid
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), Level.ERROR),
        (json.dumps({"keys": [{"kty": "RSA", "n": "?"}]}), Level.ERROR),
        ("<html>", Level.ERROR),
    ],
)
async def test_a_providers_keys(body: str, level: Level) -> None:
    """One at least that is public, whole, and for signatures."""
    async with serving(lambda _: web.Response(text=body)) as url:
        found = await told(doors.jwks, jwks_url=url, issuer="i", audience="a")
    assert found.level is level


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


async def test_a_rest_api_that_refuses_is_there(free_port: int) -> None:
    """403 is its answer to who does not sign."""
    async with serving(lambda _: web.Response(status=403)) as url:
        assert (await told(doors.rest, rest_url=url)).level is Level.OK
    assert (await told(doors.rest, rest_url=f"http://127.0.0.1:{free_port}")).level is (
        Level.WARNING
    )
