"""docs/proxies.md: its nginx, as it stands there, before a consumer that asks for tokens."""

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Final, cast

import aiohttp
import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.typing import Origin

from consumer.core.limits import Limits
from consumer.edges.tokens import Verifier
from infra.local.places import HOST, ROOT, free_port, is_taken
from tests.edges.conftest import Service, read, serving
from tests.edges.test_access import Tokens

DOCUMENT: Final = (ROOT / "docs" / "proxies.md").read_text()
NGINX: Final = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
AROUND: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{shown}
}}
"""
BEARER: Final = {"Authorization": "Bearer all"}

pytestmark = pytest.mark.skipif(
    NGINX is None and "CI" not in os.environ, reason="nginx is not installed"
)


class Front:
    """nginx before a consumer."""

    def __init__(self, service: Service, port: int, trust: ssl.SSLContext) -> None:
        self.service = service
        self.origin = f"https://{HOST}:{port}"
        self.trust = trust

    def watch(
        self,
        origin: str | None = None,
        *,
        source: str = HOST,
        more: dict[str, str] | None = None,
    ) -> connect:
        return connect(
            f"{self.origin.replace('https', 'wss')}/v1/status?watch=*",
            ssl=self.trust,
            local_addr=(source, 0),
            origin=None if origin is None else Origin(origin),
            additional_headers=BEARER | (more or {}),
        )


def shown(folder: Path, port: int, consumer_port: int) -> str:
    """The document's text, but for what differs from one machine to another."""
    blocks: list[str] = re.findall(r"```nginx\n(.+?)```", DOCUMENT, re.DOTALL)
    (text,) = blocks
    for here, there in (
        ("listen 443 ssl", f"listen {HOST}:{port} ssl"),
        ("/etc/nginx/status.pem", f"{folder}/status.pem"),
        ("/etc/nginx/status.key", f"{folder}/status.key"),
        ("http://127.0.0.1:8080", f"http://{HOST}:{consumer_port}"),
    ):
        assert text.count(here) == 1
        text = text.replace(here, there)
    return text


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(tmp_path / "status.key")
    for part in issued.cert_chain_pems:
        part.write_to_path(tmp_path / "status.pem", append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with serving(
        tmp_path,
        limits=Limits(connections_per_address=1),
        verifier=cast(Verifier, Tokens()),
        trusted_proxies=[ip_network("127.0.0.1/32")],
    ) as service:
        port = free_port()
        settings = AROUND.format(folder=tmp_path, shown=shown(tmp_path, port, service.port))
        (tmp_path / "nginx.conf").write_text(settings)
        assert NGINX is not None, "nginx is not installed"
        nginx = await asyncio.create_subprocess_exec(
            NGINX, "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr"
        )
        try:
            async with asyncio.timeout(20):
                while not is_taken(port):  # noqa: ASYNC110  # nginx tells nobody
                    await asyncio.sleep(0.05)
            yield Front(service, port, trust)
        finally:
            nginx.kill()
            await nginx.wait()


async def _is_let_in(viewer: ClientConnection) -> bool:
    return [(await read(viewer))["op"] for _ in range(2)] == ["welcome", "snapshot"]


async def test_programs_and_the_page_watch_through_it(front: Front) -> None:
    """With a token, which is taken since the proxy is one that is trusted."""
    async with (
        front.watch(source="127.0.0.2") as program,
        front.watch(front.origin, source="127.0.0.3") as page,
    ):
        assert await _is_let_in(program)
        assert await _is_let_in(page)
    async with (
        aiohttp.ClientSession() as http,
        http.get(front.origin, ssl=front.trust) as answer,
    ):
        assert (answer.status, answer.content_type) == (200, "text/html")


async def test_another_page_does_not(front: Front) -> None:
    """Whatever it says of the way that it came."""
    with pytest.raises(InvalidStatus, match="403"):
        async with front.watch("https://elsewhere.example", more={"X-Forwarded-Proto": "http"}):
            pass
    assert front.service.counts["connections_refused", "origin"] == 1


async def test_viewers_are_told_apart(front: Front) -> None:
    """Each counts by the address that nginx saw, whatever it says itself."""
    async with front.watch(source="127.0.0.2") as first:
        assert await _is_let_in(first)
        forged = {"X-Forwarded-For": "192.0.2.7"}
        async with front.watch(source="127.0.0.2", more=forged) as second:
            with pytest.raises(ConnectionClosedError, match="1013"):
                await read(second)
        async with front.watch(source="127.0.0.3") as other:
            assert await _is_let_in(other)
    assert front.service.counts["connections_refused", "address"] == 1
