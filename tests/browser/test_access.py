"""For everyone: by keyboard, by screen reader, on a phone, in the dark; and safe to look at."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.acts import INSTANCE, confirm, execution_row, instance_row, node, watch
from tests.browser.conftest import PICTURES
from tests.browser.stage import Stage, Viewer, execution_event, instance_event
from tests.browser.story import Story

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(__file__).parents[2] / ".venv-node/node_modules/axe-core/axe.min.js"
# Everything that a person sees is looked at; what axe cannot decide is left to people.
JUDGED = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
    ({id, impact, nodes}) => `${impact} ${id}: ${nodes.map(({target}) => target).join(" ; ")}`)"""
MARKUP = '<img src=x onerror="document.title=1">'


async def violations(page: Page) -> list[str]:
    await page.evaluate(AXE.read_text())
    found: list[str] = await page.evaluate(JUDGED)
    return found


async def a_day(page: Page, stage: Stage, query: str = "") -> Viewer:
    """A page with something of everything."""
    story = Story(15, 1_767_000_000)
    failing = story.run(7, steps=3, fails=True)
    stage.kept = [*failing[:1], *failing[2:]]
    viewer = await watch(page, stage, *story.fleet(), *story.runs(12), failing[-1], query=query)
    await viewer.status(failing[1], cursor="e-2", late=True)
    await viewer.send(op="skipped", count=3, cursor="e-3")
    await expect(page.locator("#graph-nodes li").first).to_be_visible()
    return viewer


@pytest.mark.parametrize("query", ["", "?view=grid&graph=all&run=nightly-7"])
async def test_axe_finds_nothing(page: Page, scenario: Stage, query: str) -> None:
    """In light and dark: the lists, the grid, the graph of all states, a timeline."""
    await page.emulate_media(reduced_motion="reduce")
    await a_day(page, scenario, query)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await violations(page) == []


async def test_axe_finds_nothing_in_the_forms(page: Page, scenario: Stage) -> None:
    """What asks, and the help."""
    await watch(page, scenario, instance_event("running"))
    await confirm(page, "Stop")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_have_accessible_name("Keys")
    assert await violations(page) == []


async def test_keys_do_what_they_say(page: Page, scenario: Stage) -> None:
    """Each has its effect, none while something is typed, and all can be switched off."""
    await a_day(page, scenario)
    await page.keyboard.press("/")
    filter_ = page.get_by_label("Filter by id or name")
    await expect(filter_).to_be_focused()
    await page.keyboard.type("gap")
    await expect(filter_).to_have_value("gap")
    await page.keyboard.press("Escape")
    await expect(filter_).to_have_value("")
    await page.locator("#instances-title").focus()
    await page.keyboard.press("g")
    await expect(page.get_by_role("listbox")).to_be_visible()
    await page.keyboard.press("m")
    await expect(node(page, "PublishWaiting")).to_have_count(0)
    await page.keyboard.press("p")
    await expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("?")
    await page.get_by_label("These keys work").uncheck()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await expect(page.get_by_role("listbox")).to_be_visible()


async def test_everything_is_reached_by_tab(page: Page, scenario: Stage) -> None:
    """From the first key to an order, without a pointer."""
    await watch(page, scenario, instance_event("running"), execution_event("CHECKING"))
    await expect(node(page, "PublishChecking")).to_be_visible()
    reached = []
    for _ in range(60):
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate(
                "() => document.activeElement.getAttribute('aria-label')"
                " || document.activeElement.textContent.trim() || document.activeElement.id"
            )
        )
        if reached[-1] == f"Stop {INSTANCE}":
            break
    assert reached[0] == "Skip to the instances"
    assert any("execution is here" in each for each in reached)
    assert "instances-filter" in reached
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def test_markup_is_text(page: Page, scenario: Stage) -> None:
    """Markup in a tag, a reason, a name, a state or a detail is shown as written."""
    reason = {"error": MARKUP, "cause": MARKUP}
    tagged = instance_event("stopped", reason=reason, detail={"name": MARKUP})
    evil = execution_event(
        "FAILED", name="evil", reason=reason, detail={"tag": MARKUP}, state=MARKUP
    )
    scenario.kept = [evil]
    viewer = await watch(page, scenario, tagged)
    await viewer.status(evil, cursor="e-2")
    await expect(instance_row(page)).to_contain_text(MARKUP)
    await expect(execution_row(page, "evil").locator(".reason")).to_contain_text(MARKUP)
    await expect(page.locator("#stream li")).to_contain_text(f"tag: {MARKUP}")
    await execution_row(page, "evil").get_by_role("link").click()
    await expect(page.locator("#inspected-run .timeline")).to_contain_text(MARKUP)
    await page.goto(f"{scenario.page_url}/?view=grid&q={MARKUP}&run={MARKUP}&at={MARKUP}")
    await (await scenario.viewer()).snapshot(tagged, evil, cursor="e-2")
    await expect(page.get_by_role("option")).to_contain_text(MARKUP)
    await expect(page.locator("img")).to_have_count(0)
    assert await page.title() == "Statuswire"


async def test_fits_every_screen(page: Page, scenario: Stage) -> None:
    """Nothing sticks out to the side, from a wall to a phone; pictures of it are kept."""
    await a_day(page, scenario, "?run=nightly-7")
    await expect(page.locator("#inspected-run .timeline li").first).to_be_visible()
    for wide in (2560, 1280, 1024, 768, 390, 320):
        await page.set_viewport_size({"width": wide, "height": 900})
        beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, wide
        await page.screenshot(path=PICTURES / "seen" / f"{wide}.png")


async def test_stands_still_for_who_asks_for_it(page: Page, scenario: Stage) -> None:
    """With reduced motion nothing moves by itself."""
    await page.emulate_media(reduced_motion="reduce")
    viewer = await a_day(page, scenario)
    await viewer.status(instance_event("running"), cursor="e-4")
    await viewer.status(instance_event("stopping"), cursor="e-5")
    await expect(page.locator("#stream li").first).to_contain_text("stopping")
    assert await page.evaluate("document.getAnimations().length") == 0


async def test_works_without_storage(browser: Browser, scenario: Stage) -> None:
    """Where a browser keeps nothing, the page works all the same."""
    context = await browser.new_context()
    page = await context.new_page()
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})"
    await page.add_init_script(refuse)
    await watch(page, scenario, instance_event("running"))
    await page.keyboard.press("g")
    await expect(page.get_by_role("option")).to_have_count(1)
    await context.close()
