"""The dashboard in a real Chromium, against a stage that plays the consumer's part."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.acts import (
    OTHER,
    enter,
    execution_row,
    expect_connection,
    instance_row,
    watch,
)
from tests.browser.stage import Stage, execution_event, instance_event

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Which connections the page showed, each for however short a time.
KEEP_CONNECTIONS = """
new MutationObserver(() => {
  const { seen = "" } = document.documentElement.dataset;
  const shown = document.body?.dataset.connection ?? "";
  if (!seen.endsWith(shown)) document.documentElement.dataset.seen = `${seen} ${shown}`;
}).observe(document, { attributeFilter: ["data-connection"], subtree: true });
"""


async def test_subscribes_to_everything(page: Page, scenario: Stage) -> None:
    """The first subscription asks for everything and resumes nothing."""
    viewer = await watch(page, scenario)
    assert viewer.opening == {"op": "subscribe", "id": "1", "watch": ["*"]}


async def test_says_what_to_do_when_nothing_is_known(page: Page, scenario: Stage) -> None:
    """An empty page names the request that starts a run."""
    await watch(page, scenario)
    await expect(page.locator("#executions-empty")).to_contain_text(
        f"curl -X POST {scenario.rest_url}/express-instance"
    )


async def test_execution_changes_in_place(page: Page, scenario: Stage) -> None:
    """A later status of an execution changes its row and makes no other."""
    viewer = await watch(page, scenario, execution_event("CHECKING", seq=1))
    row = execution_row(page)
    await expect(row).to_have_attribute("data-status", "CHECKING")
    element = await row.element_handle()
    await viewer.status(execution_event("STARTING", seq=2, state="PublishStarting"), cursor="e-2")
    await expect(row).to_have_attribute("data-status", "STARTING")
    await expect(row).to_contain_text("PublishStarting")
    assert await row.count() == 1
    assert await page.evaluate("row => row.isConnected", element)


async def test_instance_shows_its_run(page: Page, scenario: Stage) -> None:
    """An instance names the run under way on it, until that run has ended."""
    viewer = await watch(page, scenario, instance_event("stopped"), execution_event("STARTING"))
    run = instance_row(page).locator("td.run")
    await expect(run).to_contain_text("nightly-7")
    await viewer.status(execution_event("SUCCEEDED", seq=2), cursor="e-2")
    await expect(run).not_to_contain_text("nightly-7")


async def test_instance_known_from_a_run_alone(page: Page, scenario: Stage) -> None:
    """An instance that only a run spoke of is there, with no status made up for it."""
    await watch(page, scenario, execution_event("CHECKING"))
    await expect(instance_row(page)).to_have_attribute("data-status", "unknown")


async def test_newest_execution_first(page: Page, scenario: Stage) -> None:
    """Executions stand newest first, and a change of an old one moves nothing."""
    old = execution_event("CHECKING", name="old", time="2026-01-02T03:00:00.000Z")
    new = execution_event("CHECKING", name="new", time="2026-01-02T04:00:00.000Z")
    viewer = await watch(page, scenario, old, new)
    later = "2026-01-02T05:00:00.000Z"
    await viewer.status(execution_event("FAILED", name="old", seq=2, time=later), cursor="e-2")
    await expect(execution_row(page, "old")).to_have_attribute("data-status", "FAILED")
    names = page.locator("#executions tbody .name")
    await expect(names).to_have_text(["new", "old"])


async def test_failed_execution_shows_its_reason(page: Page, scenario: Stage) -> None:
    """A failed run says why."""
    reason = {"error": "InstanceNotFound", "cause": "The instance does not exist."}
    await watch(page, scenario, execution_event("FAILED", reason=reason))
    await expect(execution_row(page).locator(".reason")).to_have_text(
        "InstanceNotFound: The instance does not exist."
    )


async def test_late_event_changes_no_status(page: Page, scenario: Stage) -> None:
    """A late event stands in the stream, marked, and the execution keeps its status."""
    viewer = await watch(page, scenario, execution_event("STARTING", seq=2))
    await viewer.status(execution_event("CHECKING", seq=1), cursor="e-2", late=True)
    entry = page.locator("#stream li")
    await expect(entry).to_have_attribute("data-kind", "late")
    await expect(entry).to_contain_text("late")
    await expect(execution_row(page)).to_have_attribute("data-status", "STARTING")


async def test_gap_is_shown(page: Page, scenario: Stage) -> None:
    """A gap is a line in the stream, and the snapshot after it replaces what was known."""
    viewer = await watch(page, scenario, instance_event("running", instance_id=OTHER))
    await viewer.send(op="gap", id="1", cursor="f-9")
    await viewer.snapshot(instance_event("stopped"), cursor="f-9")
    await expect(page.locator('#stream li[data-kind="gap"]')).to_contain_text("missed")
    await expect(instance_row(page)).to_have_attribute("data-status", "stopped")
    await expect(instance_row(page, OTHER)).to_have_count(0)


async def test_skipped_is_shown(page: Page, scenario: Stage) -> None:
    """Skipped events are counted in the stream."""
    viewer = await watch(page, scenario)
    await viewer.send(op="skipped", count=12, cursor="e-13")
    await expect(page.locator('#stream li[data-kind="skipped"]')).to_contain_text("12 events")


async def test_reconnects_from_its_cursor(page: Page, scenario: Stage) -> None:
    """After a lost connection the page resumes from the last cursor and forgets nothing."""
    viewer = await watch(page, scenario, instance_event("running"))
    await viewer.status(execution_event("CHECKING"), cursor="e-2")
    await expect(execution_row(page)).to_be_visible()
    viewer.drop()
    again = await scenario.viewer()
    assert again.opening["since"] == "e-2"
    await again.status(execution_event("STARTING", seq=2), cursor="e-3")
    await again.send(op="resumed", id="1", cursor="e-3")
    await expect_connection(page, "live")
    await expect(execution_row(page)).to_have_attribute("data-status", "STARTING")
    await expect(instance_row(page)).to_have_attribute("data-status", "running")


async def test_half_a_snapshot_is_no_cursor(page: Page, scenario: Stage) -> None:
    """A connection lost within the first snapshot begins anew, with nothing to resume from."""
    await page.goto(scenario.page_url)
    viewer = await scenario.viewer()
    await viewer.snapshot(instance_event("running"), cursor="e-1", more=True)
    viewer.drop()
    again = await scenario.viewer()
    assert "since" not in again.opening


async def test_gap_is_told_again_when_its_snapshot_was_cut_off(page: Page, scenario: Stage) -> None:
    """A connection lost between a gap and its snapshot resumes from before the gap."""
    viewer = await watch(page, scenario)
    await viewer.send(op="gap", id="1", cursor="f-9")
    await viewer.snapshot(instance_event("running"), cursor="f-9", more=True)
    await expect(page.locator('#stream li[data-kind="gap"]')).to_be_visible()
    viewer.drop()
    again = await scenario.viewer()
    assert again.opening["since"] == "e-1"


async def test_draining_sends_it_back(page: Page, scenario: Stage) -> None:
    """A draining server is left for as long as it asks, and resumed."""
    viewer = await watch(page, scenario)
    await viewer.send(op="draining", retry_ms=700)
    drained_at_s = asyncio.get_running_loop().time()
    await viewer.close(1012)
    await expect_connection(page, "reconnecting")
    again = await scenario.viewer()
    assert again.opening["since"] == "e-1"
    assert asyncio.get_running_loop().time() - drained_at_s >= 0.7


async def test_stops_where_watching_is_not_allowed(page: Page, scenario: Stage) -> None:
    """A refusal that will not change stops the page, which says why and offers another try."""
    viewer = await watch(page, scenario)
    await viewer.close(4403)
    await expect_connection(page, "stopped")
    await expect(page.locator("#notice")).to_contain_text("not allowed")
    await page.get_by_role("button", name="Try now").click()
    await scenario.viewer()


async def test_stops_where_it_is_not_understood(page: Page, scenario: Stage) -> None:
    """A server that cannot read the page's messages would not the next time."""
    viewer = await watch(page, scenario)
    await viewer.close(4400)
    await expect_connection(page, "stopped")


async def test_refused_subscription_stops_it(page: Page, scenario: Stage) -> None:
    """An error that answers the subscription is shown, and the page does not call itself live."""
    await page.goto(scenario.page_url)
    viewer = await scenario.viewer()
    await viewer.send(op="error", id="1", code="bad_watch", message="No such pattern")
    await expect_connection(page, "stopped")
    await expect(page.locator("#notice")).to_contain_text("No such pattern")


async def test_stale_after_two_missed_heartbeats(page: Page, scenario: Stage) -> None:
    """Silence of two heartbeats shows as stale, and the next one ends it."""
    scenario.heartbeat_s = 0.2
    await page.add_init_script(KEEP_CONNECTIONS)
    viewer = await enter(page, scenario)
    seen = page.locator("html")
    await expect(seen).to_have_attribute("data-seen", re.compile("live stale$"))
    await viewer.send(op="heartbeat", cursor="e-1", lag_ms=12)
    await expect(seen).to_have_attribute("data-seen", re.compile("live stale live"))
    await expect(page.locator("#lag")).to_have_text("12 ms")


async def test_stale_while_the_log_is_away(page: Page, scenario: Stage) -> None:
    """Heartbeats of a server whose log does not answer keep no page live, and the next does."""
    viewer = await watch(page, scenario, instance_event("running"))
    await viewer.send(op="heartbeat", cursor="e-1", lag_ms=12, away_ms=4_200)
    await expect_connection(page, "stale")
    await expect(page.locator("#notice")).to_contain_text("log does not answer")
    await expect(page.locator("#notice")).to_contain_text("may be old")
    await expect(instance_row(page)).to_have_attribute("data-status", "running")
    await viewer.send(op="heartbeat", cursor="e-1", lag_ms=12)
    await expect_connection(page, "live")
    await expect(page.locator("#notice")).to_be_hidden()


async def test_only_news_says_that_the_log_is_back(page: Page, scenario: Stage) -> None:
    """While it is away the server still answers, which makes nothing on the page any newer."""
    viewer = await watch(page, scenario)
    await viewer.send(op="heartbeat", cursor="e-1", lag_ms=12, away_ms=4_200)
    await viewer.send(op="error", id="9", code="no_token_needed", message="None is asked for")
    await expect(page.locator('#stream li[data-kind="error"]')).to_be_visible()
    await expect_connection(page, "stale")
    await viewer.status(instance_event("running"), cursor="e-2")
    await expect(instance_row(page)).to_have_attribute("data-status", "running")
    await expect_connection(page, "live")


async def test_missed_heartbeats_give_way_to_what_the_next_one_says(
    page: Page, scenario: Stage
) -> None:
    """A server that is heard again, and whose log is not, is stale for another reason."""
    scenario.heartbeat_s = 0.2
    viewer = await enter(page, scenario)
    await expect(page.locator("#notice")).to_contain_text("heartbeats were missed")
    await viewer.send(op="heartbeat", cursor="e-1", lag_ms=12, away_ms=4_200)
    await expect(page.locator("#notice")).to_contain_text("log does not answer")
    await expect_connection(page, "stale")


async def test_long_lists_stay_light(page: Page, scenario: Stage) -> None:
    """Of a long list only the rows in sight are in the page, and the stream keeps the newest."""
    known = [
        execution_event("SUCCEEDED", name=f"run-{n}", time=f"2026-01-02T03:04:05.{n:03d}Z")
        for n in range(900)
    ]
    viewer = await watch(page, scenario, *known)
    rows = page.locator("#executions tbody tr")
    await expect(rows.first).to_contain_text("run-899")
    assert await rows.count() < 60
    await expect(page.locator("#executions")).to_have_attribute("aria-rowcount", "901")
    await page.locator("#executions-scroller").evaluate("each => each.scrollTo(0, 1e6)")
    await expect(execution_row(page, "run-0")).to_be_visible()
    await expect(execution_row(page, "run-0")).to_have_attribute("aria-rowindex", "901")
    for n in range(130):
        await viewer.status(instance_event("running"), cursor=f"e-{n + 2}")
    await viewer.status(instance_event("stopping"), cursor="e-200")
    await expect(page.locator("#stream li").first).to_contain_text("stopping")
    await expect(page.locator("#stream li").first).to_have_attribute("aria-setsize", "131")
    assert await page.locator("#stream li").count() < 60


async def test_paused_stream_stands_still(page: Page, scenario: Stage) -> None:
    """A paused stream shows nothing new until it goes on, while the lists follow."""
    viewer = await watch(page, scenario)
    await page.get_by_role("button", name="Pause").click()
    await viewer.status(instance_event("running"), cursor="e-2")
    await expect(instance_row(page)).to_have_attribute("data-status", "running")
    await expect(page.locator("#stream li")).to_have_count(0)
    await page.get_by_role("button", name="Go on · 1 new").click()
    await expect(page.locator("#stream li")).to_have_count(1)


async def test_who_scrolls_back_is_not_disturbed(page: Page, scenario: Stage) -> None:
    """What is read stays where it is, until the top is asked for."""
    viewer = await watch(page, scenario)
    for n in range(60):
        await viewer.status(execution_event("CHECKING", name=f"run-{n}"), cursor=f"e-{n + 2}")
    await expect(page.locator("#stream li").first).to_contain_text("run-59")
    await page.locator("#stream").evaluate("stream => stream.scrollTo(0, 600)")
    pause = page.locator("#pause")
    await expect(pause).to_have_text("Go on · 0 new")
    await viewer.status(execution_event("CHECKING", name="newest"), cursor="e-100")
    await expect(pause).to_have_text("Go on · 1 new")
    await pause.click()
    await expect(page.locator("#stream li").first).to_contain_text("newest")


# Frames come when the test says so.
BY_HAND = """
    window.frames_ = [];
    window.requestAnimationFrame = draw => frames_.push(draw);
    window.cancelAnimationFrame = () => {};
    window.frame = () => frames_.shift()?.(performance.now());
"""


async def test_what_comes_while_it_draws_is_drawn_after(page: Page, scenario: Stage) -> None:
    """The page is drawn in parts; what one has missed is not left at that."""
    await page.add_init_script(BY_HAND)
    viewer = await watch(page, scenario, instance_event("running"))
    row = instance_row(page)
    while not await row.count():
        await page.evaluate("frame()")
    while await page.evaluate("frames_.length"):
        await page.evaluate("frame()")
    heard = page.locator("#lag")
    before = await heard.inner_text()
    await viewer.status(execution_event("CHECKING"), cursor="e-2")
    await expect(heard).not_to_have_text(before)
    await page.wait_for_function("() => frames_.length", polling=20)
    await page.evaluate("frame(), frame()")  # the instances are drawn, other lists are not yet
    stopped = instance_event("stopped", time="2030-01-02T03:04:05.000Z")
    await viewer.status(stopped, cursor="e-3")
    await expect(heard).to_have_text("0 ms")  # from years ahead
    await expect(row).to_have_attribute("data-status", "running")
    await page.evaluate("frame(), frame()")
    await page.wait_for_function("() => frames_.length", polling=20)
    await page.evaluate("frame(), frame()")
    await expect(row).to_have_attribute("data-status", "stopped")
