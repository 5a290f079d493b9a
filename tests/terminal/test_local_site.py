"""The dashboard on this machine: who is let in, what is signed, what is relayed."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from consumer.core.grant import Grant
from consumer.edges.tokens import TokenRefused, Verifier
from consumer.terminal import relay
from consumer.terminal.account import Account
from consumer.terminal.addresses import Addresses
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.handover import handover
from consumer.terminal.local_site import LocalSite, listen
from consumer.terminal.rest import RestApi
from consumer.terminal.tokens import Granted, NoTokens
from tests.core import examples
from tests.edges.conftest import Service, serving
from tests.terminal.signed_api import ENVIRONMENT, SignedApi, signed_api

INSTANCE = "i-0abc12345678def90"
WITHIN_S = 10


class Passes:
    """Tokens, of which the server knows those that are not `old`."""

    can_renew = True

    def __init__(self, *tokens: str) -> None:
        self.coming = list(tokens)
        self.ends_at_s = 4e9
        self.refusals: list[str] = []

    async def current(self) -> Granted:
        is_last = len(self.coming) == 1
        token = self.coming[0] if is_last else self.coming.pop(0)
        return Granted(token, None, 1e9, 4e9 if is_last else self.ends_at_s)

    def refused(self, granted: Granted) -> None:
        self.refusals.append(granted.token)

    def no_use(self, reason: str) -> CannotGoOn:
        return CannotGoOn(reason)


class Verifying:
    """The consumer's part in it."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    async def verify(self, token: str) -> Grant:
        self.shown.append(token)
        if token == "old":  # noqa: S105 # no secret
            raise TokenRefused("it has expired")
        return Grant(frozenset({"*"}), 4e9)


@pytest.fixture
async def consumer(tmp_path: Path) -> AsyncIterator[tuple[Service, Verifying]]:
    """One that asks for tokens."""
    verifying = Verifying()
    async with serving(tmp_path, verifier=cast(Verifier, verifying)) as service:
        yield service, verifying


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SignedApi]:
    """One that asks for signatures, and the credentials for them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    async with signed_api() as api:
        yield api


class Browser:
    """A page of the site, as far as headers and cookies go."""

    def __init__(self, http: aiohttp.ClientSession, site: LocalSite) -> None:
        self.http = http
        self.site = site
        self.base = f"http://127.0.0.1:{site.gate.authority.rpartition(':')[2]}"
        self.headers = {"Host": site.gate.authority, "Origin": site.gate.origin}

    async def enter(self, key: str | None = None) -> int:
        """Post the form of the file."""
        headers = {"Host": self.site.gate.authority, "Origin": "null"}
        form = {"key": self.site.gate.key if key is None else key}
        async with self.http.post(f"{self.base}/enter", data=form, headers=headers) as answer:
            if cookie := answer.headers.get("Set-Cookie"):
                self.headers["Cookie"] = cookie.partition(";")[0]
            return answer.status

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {**self.headers, **options.pop("headers", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        url = self.base + path
        async with self.http.request(method, url, headers=headers, **options) as answer:
            return answer.status, await answer.text()

    async def stream(self) -> aiohttp.ClientWebSocketResponse:
        url = f"{self.base}/v1/status"
        return await self.http.ws_connect(url, headers=self.headers, protocols=["statuswire.v1"])


@pytest.fixture
async def page(consumer: tuple[Service, Verifying], api: SignedApi) -> AsyncIterator[Browser]:
    """Not let in yet."""
    addresses = Addresses(consumer[0].url, api.url, "test")
    async with (
        RestApi(addresses, Account()) as rest,
        LocalSite(rest, consumer[0].url, Passes("good"), host="", port=0) as site,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        yield Browser(http, site)


async def frame(stream: aiohttp.ClientWebSocketResponse, op: str) -> Any:
    """The next one of a kind."""
    async with asyncio.timeout(WITHIN_S):
        async for message in stream:
            if message.type is WSMsgType.TEXT and (told := json.loads(message.data))["op"] == op:
                return told
    raise AssertionError(f"closed with {stream.close_code}")


async def end(stream: aiohttp.ClientWebSocketResponse) -> int | None:
    """The code it is closed with."""
    async with asyncio.timeout(WITHIN_S):
        async for _ in stream:
            pass
    return stream.close_code


async def test_nothing_is_shown_before_the_key(page: Browser) -> None:
    """No page, no settings, no stream, no order."""
    for method, path in [
        ("GET", "/"), ("GET", "/config.json"), ("GET", "/dashboard/dashboard.js"),
        ("GET", "/rest/executions/a"), ("POST", "/rest/express-instance"),
    ]:  # fmt: skip
        status, told = await page.ask(method, path)
        assert status == 403
        assert "statuswire dashboard" in told
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await page.stream()


async def test_the_key_opens_the_page_once(page: Browser) -> None:
    """The second who brings it is refused; the first one's browser is not."""
    assert await page.enter() == 200
    assert await page.enter() == 403
    status, told = await page.ask("GET", "/")
    assert status == 200
    assert "<title>Statuswire</title>" in told


async def test_the_page_is_told_where_its_orders_go(page: Browser) -> None:
    """To this server, under its own origin; so no other origin need be allowed by the API."""
    await page.enter()
    _, told = await page.ask("GET", "/config.json")
    assert json.loads(told)["rest_url"] == f"{page.site.gate.origin}/rest"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": None},
        {"Cookie": None},
        {"Cookie": "statuswire-dashboard=guess"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_an_order_from_elsewhere_is_refused(
    wrong: dict[str, str], page: Browser, api: SignedApi
) -> None:
    """Another name for this machine, another page, another user: nothing reaches the API."""
    await page.enter()
    body = {"json": {"instance_id": INSTANCE}, "headers": wrong}
    assert (await page.ask("POST", "/rest/express-instance", **body))[0] == 403
    assert api.asked == []


async def test_orders_are_signed(page: Browser, api: SignedApi) -> None:
    """With this user's credentials; the answer is the API's own."""
    await page.enter()
    api.answers["/express-instance"] = (409, {"error": "instance_state_conflict"})
    body = {"instance_id": INSTANCE, "action": "stop"}
    status, told = await page.ask("POST", "/rest/express-instance", json=body)
    assert (status, json.loads(told)) == (409, {"error": "instance_state_conflict"})
    assert json.loads(api.asked[0][2]) == body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/rest/watch-tokens"),  # the page needs none, so none can be taken from it
        ("GET", "/rest/"),
        ("GET", "/rest/executions/a%2fb"),
        ("GET", "/rest/../v1/status"),
        ("POST", "/rest/express-instance/x"),
    ],
)
async def test_no_other_route_is_signed(
    method: str, path: str, page: Browser, api: SignedApi
) -> None:
    """What the page has no use for is not passed on."""
    await page.enter()
    status, _ = await page.ask(method, path, json={})
    assert status in (400, 404, 426)
    assert api.asked == []


async def test_a_form_is_no_order(page: Browser, api: SignedApi) -> None:
    """Other pages may send forms without asking; only JSON is an order."""
    await page.enter()
    assert (await page.ask("POST", "/rest/express-instance", data={"a": "b"}))[0] == 415
    assert api.asked == []


async def test_the_stream_is_relayed(page: Browser, consumer: tuple[Service, Verifying]) -> None:
    """Both ways, with a token that the page never has."""
    await page.enter()
    service, verifying = consumer
    stream = await page.stream()
    assert stream.protocol == "statuswire.v1"
    await frame(stream, "welcome")
    await stream.send_str('{"op": "subscribe", "id": "1", "watch": ["*"]}')
    await frame(stream, "snapshot")
    await service.log.append([examples.step(1)])
    assert (await frame(stream, "status"))["event"]["execution"]["seq"] == 1
    assert verifying.shown == ["good"]
    await stream.close()


async def test_the_consumers_close_code_reaches_the_page(
    page: Browser, consumer: tuple[Service, Verifying]
) -> None:
    """It says what to do: a draining consumer is come back to."""
    await page.enter()
    stream = await page.stream()
    await frame(stream, "welcome")
    draining = asyncio.create_task(consumer[0].server.drain())
    assert await end(stream) == 1012
    await draining


async def test_the_page_is_not_asked_for_a_token(
    consumer: tuple[Service, Verifying],
) -> None:
    """It takes a refusal for a lost connection, and the next one has another token."""
    passes = Passes("old", "good")
    async with (
        LocalSite(None, consumer[0].url, passes, host="", port=0) as site,
        aiohttp.ClientSession() as http,
    ):
        page = Browser(http, site)
        await page.enter()
        assert await end(await page.stream()) == 1014
        assert passes.refusals == ["old"]
        await frame(await page.stream(), "welcome")


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_server_without_close_codes_says_the_same(is_open: bool) -> None:
    """By its answer to the handshake, or by an error before it ends the connection."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        if not is_open:
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": "error", "id": None, "code": "token", "close": 4401})
        await socket.close()
        return socket

    application = web.Application()
    application.router.add_get("/v1/status", refuse)
    passes = Passes("old")
    async with (
        TestServer(application) as server,
        LocalSite(
            None, str(server.make_url("/v1/status")), passes, host="127.0.0.1", port=0
        ) as site,
        aiohttp.ClientSession() as http,
    ):
        page = Browser(http, site)
        assert await page.enter() == 200
        assert await end(await page.stream()) == 1014
    assert passes.refusals == ["old"]


async def test_a_token_is_renewed_in_the_open_connection(
    consumer: tuple[Service, Verifying], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page sees nothing of it."""
    monkeypatch.setattr(relay, "TRY_AGAIN_S", 0.05)
    passes = Passes("first", "second")
    passes.ends_at_s = 1.1e9  # long past its last quarter
    async with (
        LocalSite(None, consumer[0].url, passes, host="", port=0) as site,
        aiohttp.ClientSession() as http,
    ):
        page = Browser(http, site)
        await page.enter()
        stream = await page.stream()
        await frame(stream, "welcome")
        seen: list[str] = []
        async with asyncio.timeout(WITHIN_S):
            while consumer[1].shown != ["first", "second"]:
                seen.append(json.loads((await stream.receive()).data)["op"])
            await stream.send_str('{"op": "ping", "id": "mine"}')  # answered after the renewal
            while "pong" not in seen:
                seen.append(json.loads((await stream.receive()).data)["op"])
        assert set(seen) == {"heartbeat", "pong"}


async def test_a_consumer_that_is_not_there_is_a_lost_connection() -> None:
    """The page tries again, as ever."""
    async with (
        LocalSite(None, "ws://127.0.0.1:9/v1/status", NoTokens(), host="", port=0) as site,
        aiohttp.ClientSession() as http,
    ):
        page = Browser(http, site)
        await page.enter()
        assert await end(await page.stream()) == 1014
        assert json.loads((await page.ask("GET", "/config.json"))[1])["rest_url"] is None


async def test_the_port_is_ours_on_every_loopback_address(page: Browser) -> None:
    """Nobody else can be asked in its place."""
    port = int(page.base.rpartition(":")[2])
    with pytest.raises(CannotGoOn, match="is taken"):
        listen(port)


def test_the_file_with_the_key_is_for_its_owner_alone() -> None:
    """Nobody else can look into its folder either; and it does not stay."""
    with handover("http://x.localhost:1/enter", 'a"key') as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert 'value="a&quot;key"' in path.read_text()
    assert not path.exists()
