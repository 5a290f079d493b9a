"""The dashboard's first paint: a browser that has never seen the page, and the product's server."""

import os
import shutil
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from tests.bench import contestants
from tests.bench.goals import OURS, Goal
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import Sample, stand
from tests.browser.conftest import CHROMIUMS, HOMES, QUIET

# The browser's own clock, in ms from when the page was asked for (Paint Timing, W3C).
PAINTED: Final = """() => new Promise(tell => {
    const look = () => {
        const [paint] = performance.getEntriesByName("first-contentful-paint");
        if (paint) tell({paint_ms: paint.startTime,
                         loaded_ms: performance.getEntriesByType("navigation")[0].loadEventEnd});
        else requestAnimationFrame(look);
    };
    look();
})"""


def _paint(browser: Browser, url: str) -> Sample:
    """With an empty cache: each context has its own."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(url, wait_until="load")
        told: Sample = page.evaluate(PAINTED)
        return told
    finally:
        context.close()


def play(run: Run) -> Results:
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        return Results(lacks={OURS: "no Chromium is installed"})
    homes: dict[str, str | float | bool] = dict.fromkeys(HOMES, str(run.folder))
    results = Results()
    with stand(contestants.product(), run.folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=QUIET, env={**os.environ, **homes}
        )
        try:
            url = f"http://127.0.0.1:{server.port}/"
            for number in range(-1, run.scale.rounds):
                sample = _paint(browser, url)
                if number >= 0:  # the browser warms up, too
                    results.add(OURS, sample)
                    run.tell(f"paint {number + 1}: {sample['paint_ms']:.0f} ms")
        finally:
            browser.close()
    return results


PAINT: Final = Scenario(
    "paint",
    "The dashboard in Chromium, with an empty cache",
    play,
    {"paint_ms": "first contentful paint, ms", "loaded_ms": "loaded, ms"},
    (Goal("first paint of the dashboard, ms", "paint_ms", "at most", 300),),
)
