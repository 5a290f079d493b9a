"""The dashboard's pictures: `make pictures`.

Plays the same story on the stage each time, and takes docs/dashboard.png for the README, and into
`.local/pictures` the page in the dark, on a phone, on a wall, with a grid of 2,000 and with all
states of the graph.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, expect

from tests.browser.acts import watch
from tests.browser.conftest import open_browser
from tests.browser.stage import Stage
from tests.browser.story import Story

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".local/pictures"
AS_IT_HAPPENS_S: Final = 0.05
SETTLED_MS: Final = 500  # the last animation's end


@dataclass(frozen=True)
class Picture:
    name: str
    query: str = ""
    wide: int = 1440
    high: int = 900
    scheme: str = "light"
    size: int = 46
    whole: bool = False
    fails: bool = False


README: Final = Picture("dashboard", "?run=nightly-100")
PICTURES: Final = (
    README,
    Picture("dark", "?run=nightly-100", scheme="dark"),
    Picture("fleet"),
    Picture("failed", "?run=nightly-100&graph=all", high=1300, fails=True),
    Picture("grid", "?view=grid", size=2_000),
    Picture("grid-dark", "?view=grid", size=2_000, scheme="dark"),
    Picture("tiles", "?view=grid&machine=express"),
    Picture("instance", "?instance=i-0000c5a0000000000000"),
    Picture("small-desk", "?run=nightly-100", wide=1280, high=800),
    Picture("tablet", "?run=nightly-100", wide=900, high=1200),
    Picture("phone", wide=390, high=844, whole=True),
    Picture("phone-run", "?run=nightly-100", wide=390, high=844),
    Picture("phone-dark", "?view=grid", wide=390, high=844, size=2_000, scheme="dark"),
    Picture("wall", "?run=nightly-100", wide=2560, high=1440, size=400),
    Picture("wall-dark", "?view=grid", wide=2560, high=1440, size=2_000, scheme="dark"),
    Picture("empty"),
)


async def take(browser: Browser, picture: Picture, path: Path) -> None:
    """One picture, on a page and a stage of its own."""
    story = Story(picture.size, time.time())
    followed = story.run(100, steps=5, fails=picture.fails)
    if not picture.fails:
        followed = [*followed[:2], *followed[3:]]
    context = await browser.new_context(
        viewport={"width": picture.wide, "height": picture.high},
        color_scheme="dark" if picture.scheme == "dark" else "light",
    )
    async with Stage() as stage:
        stage.kept = followed
        page = await context.new_page()
        known = [] if picture.name == "empty" else [*story.fleet(), *story.runs(60), followed[-1]]
        viewer = await watch(page, stage, *known, query=picture.query)
        if known:
            events = story.goes_on()
            for number in range(24):
                story.now_s = time.time()
                await viewer.status(next(events), cursor=f"e-{number + 2}", late=number == 20)
                await asyncio.sleep(AS_IT_HAPPENS_S)
            await viewer.send(op="heartbeat", lag_ms=34)
            await expect(page.locator("#stream li").first).to_be_visible()
        await expect(page.locator("#graph-nodes li").first).to_be_visible()
        await page.wait_for_timeout(SETTLED_MS)
        await page.screenshot(path=path, full_page=picture.whole, animations="disabled")
    await context.close()


async def main(names: Sequence[str]) -> None:
    """Those of these names, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with open_browser() as browser:
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            path = FOLDER / f"{picture.name}.png"
            await take(browser, picture, path)
            if picture is README:
                (ROOT / "docs/dashboard.png").write_bytes(path.read_bytes())
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
