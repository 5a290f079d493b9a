"""The dashboard where a token is asked for: real server, real page, a verifier that is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from consumer.core.grant import Grant
from consumer.edges.tokens import KeysUnavailable, TokenRefused, Verifier
from consumer.edges.websocket import Connection
from tests.browser.acts import expect_connection
from tests.browser.stage import WITHIN_S, Stage
from tests.core import examples
from tests.edges.conftest import Service, serving, until
from tests.edges.issuers import segment

pytestmark = pytest.mark.asyncio(loop_scope="session")

OLD: Final = "The token has expired; what you see may be old."
LATER_S: Final = int(time.time()) + 3_600


class Tokens:
    """A verifier that knows what it has made; any other token is refused."""

    def __init__(self) -> None:
        self.known: dict[str, Grant] = {}
        self.asked: list[str] = []
        self.is_keyless = False

    def make(self, *watch: str, ends_s: int = LATER_S, claim: str = "watch") -> str:
        """A new token for these patterns."""
        token = forged(**{claim: watch, "exp": ends_s, "jti": str(len(self.known))})
        self.known[token] = Grant(frozenset(watch), ends_s)
        return token

    async def verify(self, token: str) -> Grant:
        self.asked.append(token)
        if self.is_keyless:
            self.is_keyless = False
            raise KeysUnavailable
        if token not in self.known:
            raise TokenRefused("its key is not known (kid)")
        return self.known[token]


def forged(**claims: Any) -> str:
    return f"{segment({'alg': 'HS256'})}.{segment(claims)}.{segment(b'a signature ' * 3)}"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(tmp_path: Path, tokens: Tokens, page: Page) -> AsyncIterator[Service]:
    """A server that asks for tokens; the page is closed before it ends."""
    async with serving(tmp_path, verifier=cast(Verifier, tokens)) as service:
        service.server.heartbeat_s = WITHIN_S  # no test waits for one
        yield service
        await page.close()


async def open_page(page: Page, service: Service) -> Locator:
    """The page, locked; its form."""
    await page.goto(f"http://127.0.0.1:{service.port}/")
    await expect_connection(page, "locked")
    return page.get_by_role("dialog")


async def paste(page: Page, text: str) -> None:
    await page.get_by_label("Token", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def enter(page: Page, service: Service, token: str) -> Connection:
    """The page, live with this token; its connection."""
    await open_page(page, service)
    await paste(page, token)
    await expect_connection(page, "live")
    (client,) = service.hub.clients
    return cast(Connection, client)


async def renew(page: Page, token: str) -> None:
    await page.get_by_role("button", name="New token").click()
    await paste(page, token)


def expire(connection: Connection) -> None:
    """Lets the token's time pass, as the server sees it."""
    connection.check(asyncio.get_running_loop().time(), LATER_S + 1.0)


def answer(page: Page) -> Locator:
    """What the form says of the token pasted last."""
    return page.get_by_role("dialog").get_by_role("alert")


async def test_asks_where_the_server_does(page: Page, guarded: Service) -> None:
    """The form can be used at once by keyboard and is told of by name; nothing is called wrong."""
    form = await open_page(page, guarded)
    await expect(form).to_have_accessible_name("This server asks for a token")
    await expect(answer(page)).to_be_empty()
    field = form.get_by_label("Token", exact=True)
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("type", "password")
    await expect(field).to_have_attribute("autocomplete", "off")
    await expect(page.locator("#connection")).to_have_text("Token needed")


async def test_does_not_ask_where_the_server_does_not(page: Page, scenario: Stage) -> None:
    """No form, no line about tokens."""
    await page.goto(scenario.page_url)
    viewer = await scenario.viewer()
    await viewer.snapshot(cursor="e-1")
    await expect_connection(page, "live")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("#token")).to_be_hidden()


async def test_says_how_to_get_one(page: Page, guarded: Service) -> None:
    """By the REST API that the server names."""
    form = await open_page(page, guarded)
    await form.get_by_text("How to get one").click()
    await expect(form.get_by_text("http://127.0.0.1:1/live/watch-tokens")).to_be_visible()


async def test_a_token_lets_the_page_in(page: Page, guarded: Service, tokens: Tokens) -> None:
    """The form goes, events come."""
    await enter(page, guarded, tokens.make("*"))
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await guarded.log.append([examples.step(1, run="nightly-7")])
    await expect(page.locator('[data-execution$=":nightly-7"]')).to_be_visible()


async def test_takes_the_whole_answer_too(page: Page, guarded: Service, tokens: Tokens) -> None:
    """What POST /watch-tokens answers may be pasted as it is."""
    token = tokens.make("*")
    url = "wss://status.example.com/v1/status"
    await enter(page, guarded, json.dumps({"url": url, "token": token, "watch": ["*"]}))
    assert tokens.asked == [token]


@pytest.mark.parametrize("text", ["correct horse battery staple", "eyJ.a." + "b" * 4_096])
async def test_what_is_no_token_is_not_sent(
    page: Page, guarded: Service, tokens: Tokens, text: str
) -> None:
    """A password that was pasted by mistake stays here, as does what no server would read."""
    await open_page(page, guarded)
    await paste(page, text)
    await expect(answer(page)).to_contain_text("This is no token")
    await expect(page.get_by_label("Token", exact=True)).to_be_focused()
    assert tokens.asked == []


async def test_a_wrong_token_is_asked_for_again(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """With the server's reason; the next one may be right."""
    form = await open_page(page, guarded)
    await paste(page, forged(jti="another"))
    await expect(answer(page)).to_have_text("Token refused: its key is not known (kid).")
    field = form.get_by_label("Token", exact=True)
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_have_value("")
    await paste(page, tokens.make("*"))
    await expect_connection(page, "live")


async def test_asks_again_when_the_token_ends(page: Page, guarded: Service, tokens: Tokens) -> None:
    """The board stays, marked as old, behind the form that says why."""
    connection = await enter(page, guarded, tokens.make("*"))
    await guarded.log.append([examples.step(1, run="nightly-7")])
    await expect(page.locator('[data-execution$=":nightly-7"]')).to_be_visible()
    expire(connection)
    await expect_connection(page, "locked")
    await expect(answer(page)).to_have_text(OLD)
    await expect(page.locator("#notice")).to_have_text(OLD)
    await expect(page.locator('[data-execution$=":nightly-7"]')).to_be_visible()
    assert await page.locator("main").evaluate("main => getComputedStyle(main).filter") != "none"


async def test_goes_on_where_it_stood(page: Page, guarded: Service, tokens: Tokens) -> None:
    """What came while nobody was let in is made up for, with no gap."""
    connection = await enter(page, guarded, tokens.make("*"))
    expire(connection)
    await expect_connection(page, "locked")
    await guarded.log.append([examples.step(1, run="nightly-7")])
    await paste(page, tokens.make("*"))
    await expect_connection(page, "live")
    await expect(page.locator("#stream li")).to_contain_text("nightly-7")


async def test_a_renewal_keeps_the_connection(page: Page, guarded: Service, tokens: Tokens) -> None:
    """A new token for the same goes through the open socket; the answer says when it ends."""
    connection = await enter(page, guarded, tokens.make("*"))
    new = tokens.make("*")
    tokens.known[new] = Grant(frozenset({"*"}), 4_000_000_000)
    await renew(page, new)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    ends = page.locator("#token-ends")
    await expect(ends).to_have_attribute("datetime", "2096-10-02T07:06:40.000Z")
    assert guarded.hub.clients == {connection}
    assert guarded.counts["connections_opened", ""] == 1


async def test_a_wrong_renewal_changes_nothing(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """The page goes on with the token that it had, and says so."""
    await enter(page, guarded, good := tokens.make("*"))
    await renew(page, forged(jti="another"))
    await expect(answer(page)).to_contain_text("its key is not known (kid); the one before is")
    await until(lambda: tokens.asked[-1] == good)
    await expect_connection(page, "live")
    await expect(answer(page)).to_be_visible()


async def test_a_token_that_ends_meanwhile_does_not_spoil_the_next(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """A refusal in an open connection may mean the old one; the new one gets its own hearing."""
    connection = await enter(page, guarded, tokens.make("*"))
    new = tokens.make("*")
    await page.get_by_role("button", name="New token").click()
    grant = tokens.known.pop(new)
    await paste(page, new)
    await until(lambda: connection not in guarded.hub.clients)  # refused
    tokens.known[new] = grant
    await until(lambda: guarded.hub.clients)
    assert tokens.asked[-1] == new
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_watches_what_the_token_allows(page: Page, guarded: Service, tokens: Tokens) -> None:
    """Its patterns rather than everything, and says that there is no more to see."""
    connection = await enter(page, guarded, tokens.make("machine:standard", "execution:a"))
    assert connection.session.watch.keys() == {"machine:standard", "execution:a"}
    await expect(page.locator("#token-watch")).to_contain_text("machine:standard, execution:a and")


async def test_finds_the_patterns_whatever_the_claim(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """How a provider calls the claim is the server's setting."""
    token = tokens.make("machine:standard", claim="https://example.com/may-watch")
    connection = await enter(page, guarded, token)
    assert connection.session.watch.keys() == {"machine:standard"}


async def test_a_token_for_something_else_starts_afresh(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """What only the old one showed goes."""
    connection = await enter(page, guarded, tokens.make("*"))
    await guarded.log.append([examples.step(1, run="nightly-7")])
    await expect(page.locator('[data-execution$=":nightly-7"]')).to_be_visible()
    await renew(page, tokens.make("execution:other"))
    await expect(page.locator('[data-execution$=":nightly-7"]')).to_have_count(0)
    (client,) = guarded.hub.clients
    assert client is not connection
    assert client.session.watch.keys() == {"execution:other"}


async def test_says_what_the_token_does_not_allow(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """A refused watch stops the page; another token can be pasted."""
    token = tokens.make("*")
    tokens.known[token] = Grant(frozenset({"machine:standard"}), LATER_S)
    await open_page(page, guarded)
    await paste(page, token)
    await expect_connection(page, "stopped")
    await expect(page.locator("#notice")).to_have_text(
        "Watching everything is not allowed by this token."
    )
    await renew(page, tokens.make("*"))
    await expect_connection(page, "live")


async def test_keeps_the_token_while_the_server_cannot_tell(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """Over capacity or without keys it is asked again, and the viewer is not."""
    tokens.is_keyless = True
    token = tokens.make("*")
    await enter(page, guarded, token)
    assert tokens.asked == [token, token]


@pytest.mark.parametrize("code", [1013, 4429])
async def test_comes_back_where_it_was_too_much(page: Page, scenario: Stage, code: int) -> None:
    """After a while, by itself."""
    await page.goto(scenario.page_url)
    await (await scenario.viewer()).close(code)
    await expect_connection(page, "reconnecting")
    await scenario.viewer()


async def test_tells_when_the_token_ends(lone_page: Page, guarded: Service, tokens: Tokens) -> None:
    """From its own claim; two minutes before, it warns."""
    guarded.server.heartbeat_s = 1_000_000  # the page's clock runs ahead, and would miss them
    await lone_page.clock.install(time=time.time())
    await enter(lone_page, guarded, tokens.make("*"))
    bar = lone_page.locator("#token")
    ends = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(LATER_S))
    await expect(lone_page.locator("#token-ends")).to_have_attribute("datetime", ends)
    await lone_page.clock.fast_forward(int(LATER_S - time.time() - 180) * 1_000)
    await expect(bar).to_have_attribute("data-ending", "false")
    await expect(bar.get_by_role("status")).to_be_empty()
    await lone_page.clock.fast_forward(90_000)
    await expect(bar.get_by_role("status")).to_contain_text("ends in less than 2 minutes")
    await lone_page.close()


async def test_the_form_can_wait(page: Page, guarded: Service) -> None:
    """Escape closes it, and a button brings it back, all by keyboard."""
    form = await open_page(page, guarded)
    await page.keyboard.press("Tab")
    await expect(form.get_by_role("button", name="Watch")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Enter a token").press("Enter")
    await expect(form.get_by_label("Token", exact=True)).to_be_focused()


KEPT: Final = """
() => JSON.stringify([
  document.documentElement.outerHTML, location.href, document.cookie, history.state,
  {...localStorage}, {...sessionStorage}, [...document.querySelectorAll("input")].map(i => i.value),
])
"""


async def test_the_token_stays_where_it_is_needed(
    page: Page, guarded: Service, tokens: Tokens
) -> None:
    """In no address, log, storage or text of the page; a reload asks again."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(f"{request.url} {request.post_data}"))
    page.on("websocket", lambda socket: seen.append(socket.url))
    page.on("console", lambda message: seen.append(message.text))
    given = [tokens.make("*"), forged(jti="another"), tokens.make("*")]
    await enter(page, guarded, given[0])
    seen.append(await page.evaluate(KEPT))
    await renew(page, given[1])
    await expect(answer(page)).to_contain_text("the one before is still in use")
    seen.append(await page.evaluate(KEPT))
    await paste(page, given[2])
    await expect(page.get_by_role("dialog")).to_have_count(0)
    seen.append(await page.evaluate(KEPT))
    assert len(seen) > 10
    for token in given:
        assert token in tokens.asked
        assert all(part not in each for part in token.split(".")[1:] for each in seen)
    await page.reload()
    await expect_connection(page, "locked")
