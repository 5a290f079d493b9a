"""People who sign in: real page, real server, and a strict Cognito and API Gateway."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from consumer.edges.tokens import Verifier
from tests.browser.acts import expect_connection
from tests.browser.cognito import CLIENT, PASSWORD, Account, Cognito
from tests.browser.stage import WITHIN_S
from tests.browser.test_access import AXE, JUDGED
from tests.browser.test_tokens import KEPT, Tokens, expire, paste
from tests.core import examples
from tests.core.examples import INSTANCE
from tests.edges.conftest import Service, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANA: Final = "ana@example.com"
LIFE_S: Final = 360  # of a watch token: 3/4 of it are less than a signature's clock may be wrong


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest_asyncio.fixture(loop_scope="session")
async def cognito(tokens: Tokens) -> AsyncIterator[Cognito]:
    """With nobody in its pool; its API issues tokens that the server knows."""
    async with Cognito() as cognito:
        cognito.make_token = lambda: tokens.make("*")
        yield cognito


@pytest_asyncio.fixture(loop_scope="session")
async def server(
    tmp_path: Path, cognito: Cognito, tokens: Tokens, page: Page
) -> AsyncIterator[Service]:
    """The consumer, which asks for tokens; the page is closed before it ends."""
    async with serving(
        tmp_path,
        verifier=cast(Verifier, tokens),
        rest_url=cognito.rest_url,
        sign_in=cognito.sign_in,
        heartbeat_s=WITHIN_S,
    ) as service:
        cognito.origin = f"http://127.0.0.1:{service.port}"
        yield service
        await page.context.clear_cookies()  # or the next test's browser would be signed in
        await page.close()


async def go_and_sign_in(page: Page, email: str = ANA, query: str = "") -> None:
    """From the page's own button, as a person does; the page is back then, and busy."""
    form = page.get_by_role("dialog", name="Sign in to watch")
    await form.get_by_role("button", name="Sign in").click()
    await page.get_by_label("Email").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Continue").click()


async def sign_in(page: Page, cognito: Cognito, *groups: str, query: str = "") -> Account:
    """Somebody of these groups, who watches."""
    account = cognito.person(ANA, *groups)
    await page.goto(f"{cognito.origin}/{query}")
    await go_and_sign_in(page)
    await expect_live(page)
    return account


async def expect_live(page: Page) -> None:
    """After a load, a redirect and five questions: longer than what is asked for on the spot."""
    live = page.locator("body[data-connection=live]")
    await expect(live).to_be_visible(timeout=WITHIN_S * 1_000)


async def expect_told(page: Page, text: str) -> None:
    """What the page says of the person, likewise."""
    told = page.locator("#person-told")
    await expect(told).to_contain_text(text, timeout=WITHIN_S * 1_000)


def asked(cognito: Cognito, name: str) -> list[dict[str, str]]:
    return [fields for each, fields in cognito.asked if each == name]


async def order(page: Page, service: Service, word: str = "Start") -> None:
    """Starts an instance that is known by now."""
    await service.log.append([examples.decode(examples.instance_change(state="stopped"))])
    await page.get_by_role("button", name=f"{word} {INSTANCE}").click()
    await page.get_by_role("dialog").get_by_role("button", name=word).click()


async def test_a_person_signs_in_and_watches(
    page: Page, server: Service, cognito: Cognito, tokens: Tokens
) -> None:
    """By a code that is bound to this browser, and a watch token that is asked for as them."""
    account = await sign_in(page, cognito, "watchers")
    await expect_told(page, f"Signed in as {ANA}")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    (token,) = asked(cognito, "token")
    assert token["grant_type"] == "authorization_code"
    assert len(token["code_verifier"]) == 43
    assert cognito.calls == [(account.sub, "/watch-tokens", {"watch": ["*"]})]
    assert tokens.asked == [*tokens.known]


async def test_nothing_of_it_stays_behind(page: Page, server: Service, cognito: Cognito) -> None:
    """No code, token or key in an address, the history, a storage or the page's text."""
    await sign_in(page, cognito, "watchers")
    left = [await page.evaluate(KEPT), *await page.evaluate(
        "() => performance.getEntriesByType('resource').map(({name}) => name)"
    )]  # fmt: skip
    assert page.url == f"{cognito.origin}/"
    (fields,) = asked(cognito, "token")
    (identity, _) = (fields["Logins"] for name, fields in cognito.asked if name.startswith("Get"))
    secrets = [fields["code"], fields["code_verifier"], *cast(dict[str, str], identity).values()]
    secrets += [value for each in cognito._rights.values() for value in (each.secret, each.session)]
    secrets += [*cognito._refresh]
    assert len(secrets) == 6
    assert not [secret for secret in secrets for text in left if secret in text]
    await page.go_back()
    assert secrets[0] not in page.url


async def test_one_comes_back_to_what_one_looked_at(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """Though the filter of states has the very name of what Cognito sends back."""
    await sign_in(page, cognito, "watchers", query="?state=running&view=grid")
    assert parse_qs(urlsplit(page.url).query) == {"state": ["running"], "view": ["grid"]}


async def test_a_reload_is_one_press(page: Page, server: Service, cognito: Cognito) -> None:
    """The page forgets, Cognito's pages remember for an hour."""
    await sign_in(page, cognito, "watchers")
    await page.reload()
    form = page.get_by_role("dialog", name="Sign in to watch")
    await expect(form.get_by_role("button", name="Sign in")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect_live(page)


# What a person may do.


async def test_an_operator_starts(page: Page, server: Service, cognito: Cognito) -> None:
    """As themselves: the API knows who it was."""
    account = await sign_in(page, cognito, "operators")
    await order(page, server)
    await expect(page.locator("#answer")).to_have_text(f"start {INSTANCE}: stopped → pending")
    sub, route, body = cognito.calls[-1]
    assert (sub, route, body["action"]) == (account.sub, "/express-instance", "start")


async def test_a_watcher_does_not(
    page: Page, server: Service, cognito: Cognito, complaints: list[str]
) -> None:
    """It is said who may, and that nothing is in doubt."""
    await sign_in(page, cognito, "watchers")
    await order(page, server)
    alert = page.get_by_role("dialog").get_by_role("alert")
    await expect(alert).to_have_text(
        f"You may not do this as {ANA}. An administrator can put you into the group operators."
    )
    assert [route for _, route, _ in cognito.calls] == ["/watch-tokens"]
    await expect(page.get_by_role("button", name="Sign out")).to_have_count(1)
    forget(complaints, "403")


async def test_a_new_group_counts_at_the_next_try(
    page: Page, server: Service, cognito: Cognito, complaints: list[str]
) -> None:
    """Whoever was refused asks for new rights, and does not sign in again."""
    account = await sign_in(page, cognito, "watchers")
    account.groups = ["operators"]
    await order(page, server)
    await expect(page.locator("#answer")).to_have_text(f"start {INSTANCE}: stopped → pending")
    forget(complaints, "403")


async def test_who_is_in_no_group_is_told(page: Page, server: Service, cognito: Cognito) -> None:
    """An account alone allows nothing."""
    cognito.person(ANA)
    await page.goto(f"{cognito.origin}/")
    await go_and_sign_in(page)
    await expect_told(page, "You are in no group here")
    await expect_connection(page, "locked")
    assert cognito.calls == []


async def test_without_signing_in_a_token_only_watches(
    page: Page, server: Service, cognito: Cognito, tokens: Tokens
) -> None:
    """Who pastes one sees all, and is asked to sign in before anything is sent."""
    await page.goto(f"{cognito.origin}/")
    await paste(page, tokens.make("*"))
    await expect_live(page)
    await order(page, server)
    alert = page.get_by_role("dialog").get_by_role("alert")
    await expect(alert).to_have_text("Sign in first.")
    assert cognito.calls == []


# As long as a person stays.


async def test_the_watch_token_is_renewed_before_it_ends(
    lone_page: Page, server: Service, cognito: Cognito, tokens: Tokens
) -> None:
    """In the open connection, and nobody is asked."""
    server.server.heartbeat_s = 1_000_000  # the page's clock runs ahead, and would miss them
    cognito.make_token = lambda: tokens.make("*", ends_s=int(time.time()) + LIFE_S)
    await lone_page.clock.install(time=time.time())
    await sign_in(lone_page, cognito, "watchers")
    await lone_page.clock.fast_forward(LIFE_S * 750 + 1_000)
    await until(lambda: len(tokens.asked) > 1)
    assert tokens.asked[:2] == [*tokens.known][:2]
    assert len(server.hub.clients) == server.counts["connections_opened", ""] == 1
    await expect(lone_page.get_by_role("dialog")).to_have_count(0)
    await lone_page.close()


async def test_rights_that_end_are_asked_for_again(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """With a refresh token that is good once: the next one is kept each time."""
    cognito.credentials_s = cognito.id_token_s = 30  # less than the page leaves to a request
    account = await sign_in(page, cognito, "operators")
    await order(page, server)
    await expect(page.locator("#answer")).to_have_text(f"start {INSTANCE}: stopped → pending")
    _, *refreshed = asked(cognito, "token")
    assert [fields["grant_type"] for fields in refreshed] == ["refresh_token"] * 2
    assert len({fields["refresh_token"] for fields in refreshed}) == 2
    assert {sub for sub, _, _ in cognito.calls} == {account.sub}


async def test_a_token_that_ended_meanwhile_is_replaced(
    page: Page, server: Service, cognito: Cognito, tokens: Tokens
) -> None:
    """After a machine's sleep, say: the page lets itself in again."""
    await sign_in(page, cognito, "watchers")
    (connection,) = server.hub.clients
    tokens.known.pop(tokens.asked[-1])
    expire(connection)  # type: ignore[arg-type] # a connection, to whoever serves it
    await until(lambda: server.hub.clients and connection not in server.hub.clients)
    await expect_live(page)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert [route for _, route, _ in cognito.calls] == ["/watch-tokens"] * 2


async def test_a_token_that_the_server_does_not_take_is_not_asked_for_for_ever(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """The settings do not fit: somebody has to know."""
    cognito.person(ANA, "watchers")
    cognito.make_token = lambda: "eyJ.eyJ.no"
    await page.goto(f"{cognito.origin}/")
    await go_and_sign_in(page)
    text = "The server refused the token that was issued to you"
    await expect_told(page, text)
    assert len(cognito.calls) == 1


async def test_the_api_may_be_away(
    lone_page: Page, server: Service, cognito: Cognito, complaints: list[str]
) -> None:
    """It is said, and tried again."""
    cognito.person(ANA, "watchers")
    cognito.is_api_away = True
    await lone_page.clock.install(time=time.time())
    await lone_page.goto(f"{cognito.origin}/")
    await go_and_sign_in(lone_page)
    await expect_told(lone_page, "asked again in 15 s")
    cognito.is_api_away = False
    await lone_page.clock.fast_forward(15_000)
    await expect_live(lone_page)
    await lone_page.close()
    forget(complaints, "ERR_")


async def test_rights_that_were_taken_from_all_are_asked_for_again(
    page: Page, server: Service, cognito: Cognito, complaints: list[str]
) -> None:
    """What an administrator does to be rid of one costs the others nothing but a question."""
    account = await sign_in(page, cognito, "operators")
    cognito.revoked_before_s = time.time()
    await order(page, server)
    await expect(page.locator("#answer")).to_have_text(f"start {INSTANCE}: stopped → pending")
    assert cognito.calls[-1][0] == account.sub
    forget(complaints, "403")


async def test_who_was_signed_out_by_an_administrator_is_told(
    page: Page, server: Service, cognito: Cognito, complaints: list[str]
) -> None:
    """Of rights that were taken back as well, nothing is left."""
    account = await sign_in(page, cognito, "operators")
    account.is_signed_out = True
    cognito.revoked_before_s = time.time()
    await order(page, server)
    alert = page.get_by_role("dialog").get_by_role("alert")
    await expect(alert).to_contain_text("You have been signed out")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert [route for _, route, _ in cognito.calls] == ["/watch-tokens"]
    forget(complaints, "403", "400")


async def test_signing_out_ends_it_everywhere(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """The refresh token is revoked, Cognito's own session ended; a press asks for the password."""
    await sign_in(page, cognito, "watchers")
    (refresh,) = cognito._refresh
    await page.get_by_role("button", name="Sign out").click()
    await expect_connection(page, "locked")
    await until(lambda: asked(cognito, "revoke"))
    assert asked(cognito, "revoke") == [{"token": refresh, "client_id": CLIENT}]
    assert page.url == f"{cognito.origin}/"
    await page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Password")).to_be_visible()


# Attacks.


async def test_somebody_elses_code_is_not_redeemed(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """A link with a code would make this page theirs: no sign-in of this tab waits for it."""
    await page.goto(f"{cognito.origin}/signed-in?code=stolen&state={'s' * 43}")
    await expect_told(page, "no sign-in of this tab")
    await expect_connection(page, "locked")
    assert page.url == f"{cognito.origin}/"
    assert asked(cognito, "token") == []


async def test_another_state_is_refused(page: Page, server: Service, cognito: Cognito) -> None:
    """Also while a sign-in is under way; that one is over then."""
    cognito.person(ANA, "watchers")
    await page.goto(f"{cognito.origin}/")
    await page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Email")).to_be_visible()
    (journey,) = asked(cognito, "authorize")
    await page.goto(f"{cognito.origin}/signed-in?code=stolen&state={'s' * 43}")
    await expect_told(page, "no sign-in of this tab")
    await page.goto(f"{cognito.origin}/signed-in?code=stolen&state={journey['state']}")
    await expect_told(page, "no sign-in of this tab")
    assert asked(cognito, "token") == []


async def test_a_code_is_good_once(
    page: Page, server: Service, cognito: Cognito, complaints: list[str]
) -> None:
    """The address of somebody's return, opened again or elsewhere, lets nobody in."""
    back: list[str] = []
    page.on("framenavigated", lambda frame: back.append(frame.url))
    await sign_in(page, cognito, "watchers")
    (address,) = (url for url in back if "/signed-in?" in url)
    await page.goto(address)
    await expect_told(page, "no sign-in of this tab")
    (first,) = asked(cognito, "token")
    async with aiohttp.ClientSession() as http:
        for change in ({}, {"code_verifier": "v" * 43}, {"code_verifier": ""}):
            replayed = await http.post(f"{cognito.url}/oauth2/token", data=first | change)
            assert await replayed.json() == {"error": "invalid_grant"}


async def test_a_code_without_its_verifier_is_worth_nothing(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """Whoever reads it on its way has no use of it; the pool refuses, and so does the page."""
    cognito.person(ANA, "watchers")
    await page.goto(f"{cognito.origin}/")
    await page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Email")).to_be_visible()
    (journey,) = asked(cognito, "authorize")
    code = cognito._back(journey, cognito.accounts[ANA]).partition("code=")[2].partition("&")[0]
    fields = {"grant_type": "authorization_code", "client_id": CLIENT, "code": code}
    fields |= {"redirect_uri": journey["redirect_uri"]}
    async with aiohttp.ClientSession() as http:
        answer = await http.post(f"{cognito.url}/oauth2/token", data=fields)
        assert await answer.json() == {"error": "invalid_grant"}
    await page.goto(f"{cognito.origin}/")
    await page.evaluate("sessionStorage.clear()")
    await page.goto(f"{cognito.origin}/signed-in?code={code}&state={journey['state']}")
    await expect_told(page, "no sign-in of this tab")


async def test_a_token_of_another_pool_is_refused(
    page: Page, server: Service, cognito: Cognito
) -> None:
    """The page looks whose it is before it uses it."""
    cognito.issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_OTHER0000"
    cognito.person(ANA, "operators")
    await page.goto(f"{cognito.origin}/")
    await go_and_sign_in(page)
    await expect_told(page, "That token is of another user pool")
    assert asked(cognito, "GetId") == []


async def test_whoever_breaks_off_is_told(page: Page, server: Service, cognito: Cognito) -> None:
    """Cognito's own words, and what to do."""
    await page.goto(f"{cognito.origin}/")
    await page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Email")).to_be_visible()
    (journey,) = asked(cognito, "authorize")
    why = "error=access_denied&error_description=User+is+disabled"
    await page.goto(f"{cognito.origin}/signed-in?{why}&state={journey['state']}")
    await expect_told(page, "Signing in was broken off: User is disabled. Sign in again.")


async def test_everyone_can_sign_in(page: Page, server: Service, cognito: Cognito) -> None:
    """As far as axe-core can tell."""
    await page.goto(f"{cognito.origin}/")
    await expect(page.get_by_role("dialog", name="Sign in to watch")).to_be_visible()
    await page.evaluate(AXE.read_text())
    assert await page.evaluate(JUDGED) == []


def forget(complaints: list[str], *expected: str) -> None:
    """Chromium logs every answer of 400 and up; none but these may have come."""
    assert all(any(word in each for word in expected) for each in complaints), complaints
    complaints.clear()
