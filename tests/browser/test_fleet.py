"""Instances: found, filtered, sorted; as a table and as a grid; two thousand of them."""

import time

import pytest
from playwright.async_api import Page, expect

from tests.browser.acts import INSTANCE, OTHER, instance_row, watch
from tests.browser.stage import Stage, execution_event, instance_event
from tests.browser.story import Story, instance_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

THIRD = "i-0c1c2d3e4f5a6b7c8"
FLEET = (
    instance_event("running", detail={"name": "web-10"}, time="2026-01-02T03:04:05.000Z"),
    instance_event(
        "stopped",
        instance_id=OTHER,
        detail={"name": "web-9"},
        time="2026-01-02T03:04:07.000Z",
    ),
    instance_event("pending", instance_id=THIRD, time="2026-01-02T03:04:06.000Z"),
)


async def shown(page: Page) -> list[str]:
    ids: list[str] = await page.locator("#instances [data-instance]").evaluate_all(
        "rows => rows.map(row => row.dataset.instance)"
    )
    return ids


async def test_by_name_as_people_count(page: Page, scenario: Stage) -> None:
    """web-9 before web-10, and behind them what has no name."""
    await watch(page, scenario, *FLEET)
    await expect(instance_row(page)).to_contain_text("web-10")
    assert await shown(page) == [OTHER, INSTANCE, THIRD]
    await page.get_by_role("button", name="Changed").click()
    assert await shown(page) == [OTHER, THIRD, INSTANCE]
    heads = page.locator('[aria-sort="descending"]')
    await expect(heads).to_have_text("Changed")


async def test_a_filter_is_in_the_address(page: Page, scenario: Stage) -> None:
    """By part of an id or a name, and by state; who gets the address sees the same."""
    await watch(page, scenario, *FLEET)
    await page.get_by_label("Filter by id or name").fill("WEB")
    await expect(page.locator("#instances [data-instance]")).to_have_count(2)
    await page.get_by_role("button", name="stopped 1").click()
    await expect(page.locator("#instances [data-instance]")).to_have_count(1)
    await expect(page.locator("#instances-tally")).to_have_text("1 of 3 instances")
    assert page.url.endswith("?q=WEB&state=stopped")
    await page.reload()
    await (await scenario.viewer()).snapshot(*FLEET, cursor="e-1")
    await expect(instance_row(page, OTHER)).to_be_visible()
    assert await shown(page) == [OTHER]
    await expect(page.get_by_label("Filter by id or name")).to_have_value("WEB")


async def test_nothing_found_says_so(page: Page, scenario: Stage) -> None:
    """And leads back to all."""
    await watch(page, scenario, *FLEET, query="?q=nothing-like-it")
    await page.get_by_role("button", name="Show all").click()
    await expect(page.locator("#instances [data-instance]")).to_have_count(3)


async def test_a_name_stays(page: Page, scenario: Stage) -> None:
    """EC2's events do not always carry the tag; what is known of it stays."""
    viewer = await watch(page, scenario, FLEET[0])
    await viewer.status(instance_event("stopping"), cursor="e-2")
    await expect(instance_row(page)).to_have_attribute("data-status", "stopping")
    await expect(instance_row(page)).to_contain_text("web-10")


async def test_a_grid_tells_by_shape_and_colour(page: Page, scenario: Stage) -> None:
    """One cell each, in the same order, with its words for who listens."""
    run = execution_event("STOPPING", seq=2)
    viewer = await watch(page, scenario, *FLEET, run, query="?view=grid")
    cells = page.get_by_role("option")
    await expect(cells).to_have_count(3)
    web = page.get_by_role("option", name="web-10")
    name = f"web-10 running · stopping {INSTANCE}, nightly-7 is stopping"
    await expect(web).to_have_accessible_name(name)
    await expect(web).to_have_attribute("data-shape", "disc")
    await viewer.status(instance_event("stopped"), cursor="e-2")
    await expect(web).to_have_attribute("data-shape", "square")
    await expect(web).to_have_attribute("data-tone", "rest")
    await web.hover()
    await expect(page.locator("#instances-point")).to_contain_text("web-10")


async def test_two_thousand_at_a_glance(page: Page, scenario: Stage) -> None:
    """A grid of all; any of them is reached by keys, and read where the focus is."""
    story = Story(2_000, time.time())
    await watch(page, scenario, *story.fleet(), query="?view=grid")
    await expect(page.get_by_role("option")).to_have_count(2_000)
    high = await page.locator("#instances-grid").evaluate("grid => grid.offsetHeight")
    assert high < 1_500  # two screens at a desk
    await page.get_by_role("option").first.focus()
    await page.keyboard.press("End")
    last = page.get_by_role("option").last
    await expect(last).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowDown")
    await expect(last).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#inspected-instance")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await expect(page.locator("#instances")).to_have_attribute("aria-rowcount", "2001")
    assert len(await shown(page)) < 80


async def test_follows_a_busy_fleet(page: Page, scenario: Stage) -> None:
    """However many events come, what is shown in the end is what stands."""
    story = Story(2_000, time.time())
    viewer = await watch(page, scenario, *story.fleet())
    newest = {}
    for number, event in zip(range(1_000), story.goes_on(), strict=False):
        await viewer.status(event, cursor=f"e-{number + 2}")
        if event["execution"] is None:
            newest[event["instance_id"]] = event["status"]
    wanted = instance_id(0)
    newest.setdefault(wanted, story.states[0])
    await page.get_by_label("Filter by id or name").fill(wanted)
    await expect(instance_row(page, wanted)).to_have_attribute("data-status", newest[wanted])
    await expect(page.locator("#instances [data-instance]")).to_have_count(1)
