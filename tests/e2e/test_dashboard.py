"""The dashboard on the real consumer, as a person sees it in Chromium."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import open_browser
from tests.e2e.conftest import Product

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_person_stops_an_instance_and_watches_it_stop(product: Product) -> None:
    """From the button over the REST API, the machine and the queues back to the page."""
    instance = product.stopped[0]
    async with open_browser() as browser:
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{product.consumer.url}/")
        await expect(page.locator("body")).to_have_attribute("data-connection", "live")

        # Only what was heard of is shown; a run over HTTP makes the instance known.
        status, answer = await product.post(
            "/express-instance", {"instance_id": instance, "action": "start"}
        )
        assert status == 200
        row = page.locator(f'[data-instance="{instance}"]')
        # An instance that ran already changes nothing, and EC2 says nothing.
        known = "running" if answer["changed"] else "unknown"
        await expect(row).to_have_attribute("data-status", known, timeout=10_000)

        await row.get_by_role("button", name="Stop").click()
        await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
        await expect(row).to_have_attribute("data-status", "stopped", timeout=15_000)
        await expect(
            page.locator('[data-execution][data-status="SUCCEEDED"]').first
        ).to_be_visible()
        await expect(page.locator("#answer")).not_to_be_empty()
        # Its run is followed: every step that the log keeps, and its way through the graph.
        steps = page.locator('.timeline li[data-kind="step"]')
        await expect(steps.last).to_have_attribute("data-status", "SUCCEEDED")
        await expect(page.locator('.timeline [data-kind="hole"]')).to_have_count(0)
        end = page.locator('#graph-nodes [data-state="PublishSucceeded"]')
        await expect(end).to_have_attribute("data-at", "done")
        assert complaints == []
