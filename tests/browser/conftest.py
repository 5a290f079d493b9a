"""A real Chromium for the dashboard, and a stage that plays the consumer's part for it."""

import os
import shutil
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from tests.browser.stage import Stage

FAILED: Final = pytest.StashKey[bool]()
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",  # it shows our own pages only, and Chromium refuses its sandbox to root
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
PICTURES: Final = Path(__file__).parents[2] / ".local/pictures"
DESK: Final = ViewportSize(width=1280, height=860)
HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")  # where Chromium would leave files


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """The machine's Chromium, headless; without one the test is skipped, with CI=true it fails."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        missing = f"no Chromium on the PATH (looked for {', '.join(CHROMIUMS)})"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with TemporaryDirectory() as home:
        homes: dict[str, str | float | bool] = dict.fromkeys(HOMES, home)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=path, args=QUIET, env={**os.environ, **homes}
            )
            try:
                yield browser
            finally:
                await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests."""
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def window(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A context for all pages: each server has a port, so an origin, of its own. A page that stays
    keeps their process alive, which would cost as much as the page itself.
    """
    context = await browser.new_context(viewport=DESK)
    async with Stage() as stage:
        await (await context.new_page()).goto(f"{stage.page_url}/config.json")
        yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def scenario() -> AsyncIterator[Stage]:
    """A page server whose WebSocket says what the test tells it to."""
    async with Stage() as stage:
        yield stage


@pytest.fixture
def complaints() -> list[str]:
    """What the page wrote to its console as an error, and what it threw; must stay empty."""
    return []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes for the page whether its test failed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest_asyncio.fixture(loop_scope="session")
async def page(
    window: BrowserContext,
    complaints: list[str],
    scenario: Stage,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Page]:
    """An empty page; the test fails if anything on it complains, or asks for another site. It is
    closed before its server, whose end it would complain of. Of a test that failed a picture is
    kept, in `.local/pictures/failed`.
    """
    page = await window.new_page()
    listen(page, complaints)
    yield page
    if request.node.stash.get(FAILED, False) and not page.is_closed():
        await page.screenshot(path=PICTURES / "failed" / f"{request.node.name}.png")
    await page.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def lone_page(browser: Browser, complaints: list[str]) -> AsyncIterator[Page]:
    """Likewise in a context of its own, for what would change the others: its clock, say."""
    context = await browser.new_context(viewport=DESK)
    page = await context.new_page()
    listen(page, complaints)
    yield page
    await context.close()
    assert complaints == []


def listen(page: Page, complaints: list[str]) -> None:
    """To everything that a page does not say to a person."""
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("request", lambda request: complaints.extend(_foreign(request.url)))


def _foreign(url: str) -> list[str]:
    here = urlsplit(url).hostname in {"127.0.0.1", None} or url.startswith(("data:", "blob:"))
    return [] if here else [f"asked for {url}"]
