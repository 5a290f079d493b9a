"""Start and stop: asked first, sent once, the answer shown."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.acts import INSTANCE, confirm, instance_row, node, steps, watch
from tests.browser.stage import Stage, execution_event, instance_event

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_nothing_is_done_unasked(page: Page, scenario: Stage) -> None:
    """Stop asks first, and Enter on what has the focus then means no."""
    await watch(page, scenario, instance_event("running"))
    form = await confirm(page, "Stop")
    await expect(form).to_have_accessible_name(f"Stop {INSTANCE}?")
    await expect(form).to_contain_text("It is running.")
    await page.keyboard.press("Enter")
    await expect(form).to_have_count(0)
    assert scenario.orders == []


async def test_start_asks_the_rest_api(page: Page, scenario: Stage) -> None:
    """Start posts the instance, the action and a name of its own, and shows the answer."""
    scenario.answer = (200, {"previous_state": "stopped", "state": "pending", "changed": True})
    await watch(page, scenario, instance_event("stopped"))
    form = await confirm(page, "Start")
    await form.get_by_role("button", name="Start").click()
    await expect(page.locator("#answer")).to_have_text(f"start {INSTANCE}: stopped → pending")
    await expect(form).to_have_count(0)
    (body,) = scenario.orders
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", body.pop("name"))
    expected = {"instance_id": INSTANCE, "action": "start", "route": "express-instance"}
    assert body == expected


async def test_its_run_is_followed(page: Page, scenario: Stage) -> None:
    """Who gives an order sees its run go through the graph, by the name that it was given."""
    scenario.answer = (202, {"executionArn": "arn:…", "startDate": "2026-01-02T03:04:05.000Z"})
    viewer = await watch(page, scenario, instance_event("stopped"))
    form = await confirm(page, "Start")
    await form.get_by_label("Standard").check()
    await form.get_by_role("button", name="Start").click()
    await expect(page.locator("#answer")).to_have_text(f"start {INSTANCE}: begun")
    (body,) = scenario.orders
    assert body["route"] == "standard-instance"
    told = execution_event("WAITING", name=body["name"], state="PublishWaiting")
    await viewer.status(told, cursor="e-2")
    await expect(steps(page)).to_have_count(1)
    await expect(node(page, "PublishWaiting")).to_have_attribute("data-at", "now")


async def test_tried_again_under_the_same_name(
    page: Page, scenario: Stage, complaints: list[str]
) -> None:
    """Without an answer nobody knows; a second try of the form is the same run."""
    scenario.answer = (504, {"error": "Timeout", "message": "No answer in time."})
    await watch(page, scenario, instance_event("running"))
    form = await confirm(page, "Stop")
    await form.get_by_label("Standard").check()
    await form.get_by_role("button", name="Stop").click()
    await expect(form.get_by_role("alert")).to_contain_text("Whether it was done is not known")
    scenario.answer = (202, {"executionArn": "arn:…"})
    await form.get_by_role("button", name="Try again").click()
    await expect(form).to_have_count(0)
    first, second = scenario.orders
    assert first == second
    assert all("504" in complaint for complaint in complaints)
    complaints.clear()  # Chromium logs every answer of 400 and up


async def test_refused_order_shows_its_message(
    page: Page, scenario: Stage, complaints: list[str]
) -> None:
    """An order that the API refuses shows the API's own words, where it was asked for."""
    scenario.answer = (409, {"error": "InstanceStateConflict", "message": "It is stopping."})
    await watch(page, scenario, instance_event("running"))
    form = await confirm(page, "Stop")
    await form.get_by_role("button", name="Stop").click()
    words = "InstanceStateConflict: It is stopping."
    await expect(form.get_by_role("alert")).to_have_text(words)
    await page.keyboard.press("Escape")
    await expect(page.locator("#answer")).to_contain_text(words)
    assert all("409" in complaint for complaint in complaints)
    complaints.clear()


async def test_orders_only_where_the_state_allows(page: Page, scenario: Stage) -> None:
    """A stopped instance can start, a running one stop, a passing state neither."""
    viewer = await watch(page, scenario, instance_event("stopped"))
    start = page.get_by_role("button", name=f"Start {INSTANCE}")
    stop = page.get_by_role("button", name=f"Stop {INSTANCE}")
    await expect(start).to_be_enabled()
    await expect(stop).to_be_disabled()
    await viewer.status(instance_event("pending"), cursor="e-2")
    await expect(start).to_be_disabled()
    await expect(stop).to_be_disabled()
    await viewer.status(instance_event("running"), cursor="e-3")
    await expect(start).to_be_disabled()
    await expect(stop).to_be_enabled()


async def test_no_orders_without_a_rest_api(page: Page) -> None:
    """A page that knows no REST address only watches."""
    async with Stage(with_rest=False) as stage:
        await watch(page, stage, instance_event("stopped"))
        await expect(instance_row(page)).to_be_visible()
        await expect(page.get_by_role("button", name=f"Start {INSTANCE}")).to_have_count(0)
