"""The page is honest about itself: what it cannot know, what it missed, how old all of it is."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.acts import execution_row, expect_connection, instance_row, watch
from tests.browser.stage import Stage, execution_event, instance_event

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_comes_back_after_the_server_was_killed(
    page: Page, scenario: Stage, complaints: list[str]
) -> None:
    """It says so, keeps what it shows, and goes on where it stood, by itself."""
    await watch(page, scenario, instance_event("running"))
    await scenario.kill()
    await expect_connection(page, "reconnecting")
    await expect(page.locator("#notice")).to_contain_text("connection was lost")
    await expect(instance_row(page)).to_have_attribute("data-status", "running")
    assert await page.locator("main").evaluate("main => getComputedStyle(main).filter") != "none"
    await scenario.revive()
    viewer = await scenario.viewer()
    assert viewer.opening["since"] == "e-1"
    await viewer.status(execution_event("CHECKING"), cursor="e-2")
    await viewer.send(op="resumed", id="1", cursor="e-2")
    await expect_connection(page, "live")
    await expect(execution_row(page)).to_be_visible()
    complaints.clear()  # Chromium logs each attempt that nobody answers


async def test_says_how_old_it_is(page: Page, scenario: Stage) -> None:
    """While it is away, what is shown has an age."""
    viewer = await watch(page, scenario)
    await viewer.send(op="draining", retry_ms=30_000)
    await viewer.close(1012)
    await expect(page.locator("#as-of")).to_contain_text("as of")
    await expect(page.locator("#countdown")).to_contain_text("in ")
    await page.get_by_role("button", name="Try now").click()
    await scenario.viewer()


async def test_counts_what_was_missed(page: Page, scenario: Stage) -> None:
    """Gaps and skipped events stay in sight after their line has gone from the stream."""
    viewer = await watch(page, scenario)
    await expect(page.locator("#missed-figure")).to_be_hidden()
    await viewer.send(op="skipped", count=12, cursor="e-13")
    await viewer.send(op="gap", id="1", cursor="f-9")
    await viewer.snapshot(cursor="f-9")
    await expect(page.locator("#missed")).to_have_text("1 gap, 12 skipped")


async def test_tells_of_a_clock_that_is_ahead(page: Page, scenario: Stage) -> None:
    """Times go by the server's clock, and the difference is shown."""
    scenario.clock_offset_s = -300
    await watch(page, scenario, instance_event("running"))
    await expect(page.locator("#skew")).to_have_text("5 min 0 s ahead")


async def test_tells_of_a_clock_that_is_behind(page: Page, scenario: Stage) -> None:
    """Likewise; nothing then seems to happen in the future."""
    scenario.clock_offset_s = 300
    await watch(page, scenario, instance_event("running"))
    await expect(page.locator("#skew")).to_have_text("5 min 0 s behind")


async def test_a_right_clock_is_not_worth_a_word(page: Page, scenario: Stage) -> None:
    """Dates of answers are whole seconds; less than that is no difference."""
    await watch(page, scenario, instance_event("running"))
    await expect(page.locator("body")).to_have_attribute("data-orders", "allowed")
    await expect(page.locator("#skew-figure")).to_be_hidden()
