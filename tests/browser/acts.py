"""What a person does on the dashboard, and where on it they look."""

from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.stage import Stage, Viewer

INSTANCE = "i-0abc12345678def90"
OTHER = "i-0b1c2d3e4f5a6b7c8"


async def watch(page: Page, stage: Stage, *known: dict[str, Any], query: str = "") -> Viewer:
    """Opens the dashboard and answers its subscription with what is known."""
    viewer = await enter(page, stage, *known, query=query)
    await expect_connection(page, "live")
    return viewer


async def enter(page: Page, stage: Stage, *known: dict[str, Any], query: str = "") -> Viewer:
    """As `watch`, for a page that may not be live for long enough to be looked at."""
    await page.goto(f"{stage.page_url}/{query}")
    viewer = await stage.viewer()
    await viewer.snapshot(*known, cursor="e-1")
    return viewer


async def expect_connection(page: Page, name: str) -> None:
    await expect(page.locator("body")).to_have_attribute("data-connection", name)


def instance_row(page: Page, instance_id: str = INSTANCE) -> Locator:
    return page.locator(f'#instances [data-instance="{instance_id}"]')


def execution_row(page: Page, name: str = "nightly-7") -> Locator:
    return page.locator(f'#executions [data-execution$=":{name}"]')


def node(page: Page, state: str) -> Locator:
    """A state of the graph."""
    return page.locator(f'#graph-nodes [data-state="{state}"]')


def steps(page: Page) -> Locator:
    """The entries of the timeline."""
    return page.locator("#inspected-run .timeline li")


async def confirm(page: Page, word: str, instance_id: str = INSTANCE) -> Locator:
    """Presses Start or Stop of an instance; the form that asks."""
    await page.get_by_role("button", name=f"{word} {instance_id}").click()
    return page.get_by_role("dialog")
