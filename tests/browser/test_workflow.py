"""The machine's graph: the fleet on it, one execution's way, and where it failed."""

import json

import pytest
from playwright.async_api import Page, expect

from tests.browser.acts import execution_row, node, watch
from tests.browser.stage import PAGES, Stage, execution_event

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRAPHS = json.loads((PAGES / "machines.json").read_text())
REASON = {"error": "InsufficientCapacity", "cause": "There is no room for it now."}


def at(seq: int, status: str, state: str, **more: object) -> dict[str, object]:
    """A step of nightly-7, `seq` seconds after the minute."""
    time = f"2026-01-02T03:04:{seq:02d}.000Z"
    return execution_event(status, seq=seq, state=state, time=time, **more)  # type: ignore[arg-type]


WAITING = at(1, "WAITING", "PublishWaiting")
CHECKING = at(2, "CHECKING", "PublishChecking")
STARTING = at(3, "STARTING", "PublishStarting")
FAILED = at(4, "FAILED", "PublishFailed", reason=REASON)


@pytest.mark.parametrize("machine", ["standard", "express"])
async def test_draws_the_machine(page: Page, scenario: Stage, machine: str) -> None:
    """Each machine's own states, all of them where they are asked for, with lines between them."""
    await watch(page, scenario, query=f"?machine={machine}&graph=all")
    names = [state["name"] for state in GRAPHS[machine]["states"]]
    nodes = page.locator("#graph-nodes [data-state]")
    await expect(nodes).to_have_count(len(names))
    drawn = await nodes.evaluate_all("nodes => nodes.map(node => node.dataset.state)")
    assert sorted(drawn) == sorted(names)
    arrows = sum(len(state["next"]) for state in GRAPHS[machine]["states"])
    await expect(page.locator("#graph-lines path")).to_have_count(arrows)
    await page.get_by_role("button", name="Steps", exact=True).click()
    told = [state["name"] for state in GRAPHS[machine]["states"] if state["tells"]]
    await expect(nodes).to_have_count(len(told) + 1)  # and where it starts


async def test_counts_the_fleet(page: Page, scenario: Stage) -> None:
    """How many executions are in each state, now and after the next event."""
    runs = [execution_event("CHECKING", name=f"run-{n}") for n in range(3)]
    viewer = await watch(page, scenario, *runs)
    checking = node(page, "PublishChecking")
    await expect(checking.locator(".count")).to_have_text("3")
    await expect(checking).to_have_accessible_name("checking PublishChecking 3 executions are here")
    moved = execution_event("STARTING", name="run-1", seq=2, state="PublishStarting")
    await viewer.status(moved, cursor="e-2")
    await expect(checking.locator(".count")).to_have_text("2")
    await expect(node(page, "PublishStarting").locator(".count")).to_have_text("1")
    await expect(page.locator("#workflow-note")).to_have_text("3 executions under way.")


async def test_counts_what_no_state_told(page: Page, scenario: Stage) -> None:
    """An ending that the service told is in no state, and is not left out."""
    aborted = execution_event("ABORTED", name="cut", seq=None, state=None, source="states")
    await watch(page, scenario, aborted)
    await expect(page.locator("#workflow-note")).to_contain_text("In no state that was told: 1 ab")


async def test_a_state_shows_its_executions(page: Page, scenario: Stage) -> None:
    """A press on a state leaves the executions that are there; the address keeps it."""
    one = execution_event("CHECKING", name="one")
    two = execution_event("STARTING", name="two", seq=2, state="PublishStarting")
    await watch(page, scenario, one, two)
    await node(page, "PublishStarting").click()
    await expect(execution_row(page, "two")).to_be_visible()
    await expect(execution_row(page, "one")).to_have_count(0)
    assert "at=PublishStarting" in page.url
    await page.get_by_role("button", name="Show executions in all states").click()
    await expect(execution_row(page, "one")).to_be_visible()


async def test_lights_the_way_of_one(page: Page, scenario: Stage) -> None:
    """Where the followed execution is, where it was and after how long, and the way between."""
    scenario.kept = [WAITING, CHECKING]
    viewer = await watch(page, scenario, CHECKING)
    await execution_row(page).get_by_role("link").click()
    await expect(node(page, "PublishChecking")).to_have_attribute("data-at", "now")
    await expect(node(page, "PublishWaiting")).to_have_attribute("data-at", "was")
    await viewer.status(STARTING, cursor="e-2")
    await expect(node(page, "PublishStarting")).to_have_attribute("data-at", "now")
    await expect(node(page, "PublishStarting")).to_contain_text("+2.0 s")
    await expect(node(page, "PublishSucceeded")).to_have_attribute("data-at", "other")
    await expect(page.locator('#graph-lines [data-way="taken"]')).to_have_count(3)


async def test_shows_where_it_failed(page: Page, scenario: Stage) -> None:
    """The step after which it failed, the one that told so, and why."""
    scenario.kept = [WAITING, CHECKING, STARTING, FAILED]
    await watch(page, scenario, FAILED, query="?run=nightly-7")
    await expect(node(page, "PublishStarting")).to_have_attribute("data-at", "broke")
    await expect(node(page, "PublishFailed")).to_have_attribute("data-at", "failed")
    told = "failed after this step, 2.0 s after its first step: InsufficientCapacity: There is no"
    await expect(node(page, "PublishStarting")).to_contain_text(told)
    await expect(page.locator('#graph-lines [data-way="broken"]')).to_have_count(1)


async def test_names_the_silent_state_that_may_have_failed(page: Page, scenario: Stage) -> None:
    """Between two steps a state without a voice did the work: it is the one to look at."""
    scenario.kept = [WAITING, CHECKING, STARTING, FAILED]
    await watch(page, scenario, FAILED, query="?run=nightly-7&graph=all")
    await expect(node(page, "StartInstance")).to_have_attribute("data-at", "suspect")
    await expect(node(page, "WaitBeforeActing")).to_have_attribute("data-at", "passed")
    await expect(node(page, "VerifyInstance")).to_have_attribute("data-at", "other")


async def test_an_aborted_run_broke_where_it_was(page: Page, scenario: Stage) -> None:
    """An ending that names no state is shown at the step that was heard last."""
    aborted = execution_event("ABORTED", seq=None, state=None, source="states")
    scenario.kept = [WAITING, aborted]
    await watch(page, scenario, aborted, query="?run=nightly-7")
    await expect(node(page, "PublishWaiting")).to_have_attribute("data-at", "broke")


async def test_says_so_where_it_cannot_be_drawn(
    page: Page, scenario: Stage, complaints: list[str]
) -> None:
    """Without the layout library the rest of the page works, and the graph says what is wrong."""
    await page.route("**/vendor/dagre.js", lambda route: route.abort())
    await watch(page, scenario, CHECKING)
    await expect(page.locator("#graph-broken")).to_contain_text("The graph cannot be drawn")
    await expect(execution_row(page)).to_be_visible()
    complaints.clear()  # the browser's own about the file
