"""What the port answers besides WebSockets."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from consumer.sign_in import sign_in
from tests.edges.conftest import Service, serving
from tests.edges.test_settings import SIGN_IN


async def get(
    service: Service, path: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request, read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


async def test_health_and_readiness(service: Service) -> None:
    """Up is one thing, ready another; and it is said what is missing, by name."""
    assert (await get(service, "/healthz"))[0] == 200
    assert (await get(service, "/readyz"))[0] == 200
    service.missing = ["log", "status queue"]
    assert (await get(service, "/healthz"))[0] == 200
    status, _, body = await get(service, "/readyz")
    assert (status, body) == (503, b"not ready: log, status queue\n")


async def test_a_start_is_over_once(service: Service) -> None:
    """Until nothing is missing it is said what is; what goes missing later is no new start."""
    service.missing = ["service queue"]
    status, _, body = await get(service, "/startz")
    assert (status, body) == (503, b"not started: service queue\n")
    service.missing = []
    assert (await get(service, "/startz"))[0] == 200
    service.missing = ["log"]
    assert (await get(service, "/startz"))[0] == 200
    assert (await get(service, "/readyz"))[0] == 503


@pytest.mark.parametrize("path", ["/", "/dashboard/dashboard.js", "/favicon.ico", "/config.json"])
async def test_the_dashboard_is_served(service: Service, path: str) -> None:
    """The page and its files, under a policy that lets nothing else in."""
    status, headers, body = await get(service, path)
    assert status == 200
    assert len(body) == int(headers["Content-Length"]) > 0
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self' http://127.0.0.1:1;" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_declared_types_are_text(service: Service) -> None:
    """By its last three letters it would be a video, or a translation."""
    status, headers, _ = await get(service, "/dashboard/statuswire.d.ts")
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")


async def test_the_page_learns_the_rest_address(service: Service) -> None:
    """The buttons need it."""
    body = (await get(service, "/config.json"))[2]
    assert json.loads(body)["rest_url"] == "http://127.0.0.1:1/live"


async def test_the_page_learns_where_people_sign_in(tmp_path: Path) -> None:
    """And may ask these origins, and no others, beside its own and the REST API's."""
    async with serving(tmp_path, sign_in=sign_in(SIGN_IN)) as service:
        _, headers, body = await get(service, "/config.json")
        page = (await get(service, "/signed-in?code=1&state=2"))[2]
        assert page == (await get(service, "/"))[2]
    assert json.loads(body)["sign_in"] == {
        "url": "https://acme.auth.eu-central-1.amazoncognito.com",
        "identity_url": "https://cognito-identity.eu-central-1.amazonaws.com",
        "region": "eu-central-1",
        "user_pool": "eu-central-1_0A1b2C3d4",
        "client_id": "0a1b2c3d4e5f6071829",
        "identity_pool": "eu-central-1:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    }
    (asked,) = re.findall(r"connect-src ([^;]*);", headers["Content-Security-Policy"])
    assert asked.split() == [
        "'self'",
        "http://127.0.0.1:1",
        "https://acme.auth.eu-central-1.amazoncognito.com",
        "https://cognito-identity.eu-central-1.amazonaws.com",
    ]


async def test_nobody_signs_in_by_default(service: Service) -> None:
    """Then there is nothing to come back to."""
    assert json.loads((await get(service, "/config.json"))[2])["sign_in"] is None
    assert (await get(service, "/signed-in"))[0] == 404


@pytest.mark.parametrize("path", ["/nope", "/dashboard/", "/dashboard/../settings.py", "/v1/"])
async def test_nothing_else_is_served(service: Service, path: str) -> None:
    """Only what was read at the start."""
    assert (await get(service, path))[0] == 404


async def test_head_has_no_body(service: Service) -> None:
    """As for GET, but for the body."""
    status, headers, body = await get(service, "/healthz", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "3", b"")


@pytest.mark.parametrize("behind", [b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 2_000])
@pytest.mark.parametrize(("path", "expected"), [("/healthz", 200), ("/v1/status", 426)])
async def test_what_comes_behind_a_request_does_not_cost_its_answer(
    service: Service, behind: bytes, path: str, expected: int
) -> None:
    """A pipelined request, a stray line: one answer, then the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + behind)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(f"HTTP/1.1 {expected} ".encode())


async def test_an_address_that_is_none(service: Service) -> None:
    """Refused, without a word in the log."""
    assert (await get(service, "//["))[0] == 400


async def test_only_get(service: Service) -> None:
    """Nothing can be changed here."""
    assert (await get(service, "/", "DELETE"))[0] == 405


async def test_a_browser_on_the_socket_path_is_told(service: Service) -> None:
    """Opening the WebSocket's address as a page says what it is."""
    assert (await get(service, "/v1/status"))[0] == 426
