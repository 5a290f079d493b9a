"""One execution's timeline, and one instance's executions."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.acts import INSTANCE, execution_row, expect_connection, steps, watch
from tests.browser.stage import Stage, execution_event, instance_event

pytestmark = pytest.mark.asyncio(loop_scope="session")


def step(seq: int, status: str, second: int, **more: object) -> dict[str, object]:
    time = f"2026-01-02T03:04:{second:02d}.000Z"
    state = f"Publish{status.capitalize()}"
    return execution_event(status, seq=seq, time=time, state=state, **more)  # type: ignore[arg-type]


async def test_shows_all_kept_steps(page: Page, scenario: Stage) -> None:
    """What the log keeps of the run, in order, with the time between; the list knew the last."""
    scenario.kept = [step(1, "WAITING", 1), step(2, "CHECKING", 31), step(3, "STARTING", 32)]
    await watch(page, scenario, scenario.kept[-1])
    await execution_row(page).get_by_role("link").click()
    await expect(steps(page)).to_have_count(3)
    await expect(steps(page).nth(0)).to_contain_text("waiting")
    await expect(steps(page).nth(1)).to_contain_text("+30.0 s")
    await expect(steps(page).nth(2)).to_contain_text("+1.0 s")
    await expect(page.locator("#inspected-run .facts")).to_contain_text("standard")
    assert scenario.readings == [f"execution:{scenario.kept[0]['execution']['arn']}"]


async def test_goes_on_live(page: Page, scenario: Stage) -> None:
    """A step that comes is added, and the end tells how long it took."""
    scenario.kept = [step(1, "CHECKING", 1)]
    viewer = await watch(page, scenario, scenario.kept[0], query="?run=nightly-7")
    await expect(steps(page)).to_have_count(1)
    await viewer.status(step(2, "SUCCEEDED", 9), cursor="e-2")
    await expect(steps(page)).to_have_count(2)
    await expect(page.locator("#inspected-run .facts")).to_contain_text("took 8.0 s")


async def test_a_hole_is_marked(page: Page, scenario: Stage) -> None:
    """A number that was passed over is a step that was lost, and said to be."""
    scenario.kept = [step(1, "WAITING", 1), step(4, "VERIFYING", 5)]
    await watch(page, scenario, scenario.kept[-1], query="?run=nightly-7")
    hole = page.locator('.timeline [data-kind="hole"]')
    await expect(hole).to_have_text("Steps 2 to 3 were not heard")


async def test_a_late_step_fills_its_hole(page: Page, scenario: Stage) -> None:
    """One that came out of order takes its place, marked as late."""
    scenario.kept = [step(1, "WAITING", 1), step(3, "STARTING", 5)]
    viewer = await watch(page, scenario, scenario.kept[-1], query="?run=nightly-7")
    hole = page.locator('.timeline [data-kind="hole"]')
    await expect(hole).to_have_text("Step 2 was not heard")
    await viewer.status(step(2, "CHECKING", 4), cursor="e-2", late=True)
    await expect(hole).to_have_count(0)
    await expect(steps(page).nth(1)).to_have_attribute("data-kind", "late")
    await expect(steps(page).nth(1)).to_contain_text("late")


async def test_a_shared_address_shows_the_run(page: Page, scenario: Stage) -> None:
    """Also one that is unknown here: it says so, rather than nothing."""
    await watch(page, scenario, query="?run=long-ago")
    await expect(page.locator("#inspected-run")).to_contain_text("No step of long-ago is kept here")


async def test_escape_closes_it_and_back_opens_it(page: Page, scenario: Stage) -> None:
    """The way back leads through what was looked at, and the focus returns to where it was."""
    scenario.kept = [step(1, "CHECKING", 1)]
    await watch(page, scenario, scenario.kept[0])
    link = execution_row(page).get_by_role("link")
    await link.click()
    panel = page.locator("#inspector")
    await expect(panel).to_be_visible()
    await expect(page.locator("#inspector-title")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    await expect(link).to_be_focused()
    await page.go_back()
    await expect(panel).to_be_visible()


async def test_an_instance_shows_its_runs(page: Page, scenario: Stage) -> None:
    """Its state, its name, its executions; one of them is a step away."""
    named = instance_event("running", detail={"name": "web-3"})
    scenario.kept = [step(1, "CHECKING", 1)]
    await watch(page, scenario, named, scenario.kept[0], query=f"?instance={INSTANCE}")
    panel = page.locator("#inspected-instance")
    await expect(panel).to_contain_text("web-3")
    await expect(panel.get_by_role("button", name=f"Stop web-3 {INSTANCE}")).to_be_enabled()
    await panel.get_by_role("link", name="nightly-7").click()
    await expect(page.locator("#inspected-run")).to_be_visible()
    assert "run=nightly-7" in page.url
    assert "instance=" not in page.url


async def test_reads_again_after_a_gap(page: Page, scenario: Stage) -> None:
    """What the stream lost may be kept of the one that is looked at."""
    scenario.kept = [step(1, "WAITING", 1)]
    viewer = await watch(page, scenario, scenario.kept[0], query="?run=nightly-7")
    await expect(steps(page)).to_have_count(1)
    scenario.kept = [step(1, "WAITING", 1), step(2, "CHECKING", 2), step(3, "STARTING", 3)]
    await viewer.send(op="gap", id="1", cursor="f-9")
    await viewer.snapshot(scenario.kept[-1], cursor="f-9")
    await expect(steps(page)).to_have_count(3)
    await expect(page.locator('.timeline [data-kind="hole"]')).to_have_count(0)
    await expect_connection(page, "live")
