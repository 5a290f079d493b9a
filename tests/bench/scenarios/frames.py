"""The dashboard under load: ten minutes of a busy fleet, its frames and its memory.

One page on the product's own server, 2,000 instances, 200 events/s, and a person who changes what
is shown between two samples. A frame that takes long shows as a long task (Long Tasks API, W3C:
what keeps the page's thread for 50 ms and more); the heap is measured after a collection.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.bench import contestants
from tests.bench.goals import OURS, Goal
from tests.bench.scenario import FULL, Results, Run, Scenario
from tests.bench.stand import Sample, stand
from tests.browser.conftest import CHROMIUMS, HOMES, QUIET
from tests.browser.story import Story

INSTANCES: Final = 2_000
RATE: Final = 200  # events/s
PER_TURN_S: Final = 0.05
SECONDS: Final = 600.0
WARM_S: Final = 5.0
FILLING: Final = 8  # samples × 40 s × 35 new executions/s > the 5,000 that the page keeps
# What a person does between two samples: grid and table, all states and steps, the other machine.
KEYS: Final = ("g", "a", "g", "m", "a", "m")

# Before the page's own code runs. `buffered` would bring the loading as well.
OBSERVED: Final = """
    window.tasks = []; window.frames_ = 0;
    new PerformanceObserver(list => {
        for (const {duration} of list.getEntries()) tasks.push(duration);
    }).observe({type: "longtask"});
    (function count() { frames_ += 1; requestAnimationFrame(count); })();
"""
TAKEN: Final = """() => {
    const told = {longest: Math.max(0, ...tasks), tasks: tasks.length, frames: frames_};
    tasks.length = 0; frames_ = 0;
    return told;
}"""


class Feed:
    """A busy fleet, at a steady rate."""

    def __init__(self, port: int, size: int) -> None:
        self._story = Story(size, time.time())
        self._events: Iterator[dict[str, Any]] = self._story.goes_on()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self.sent = 0

    def fleet(self) -> None:
        self._send(self._story.fleet())

    def play(self, page: Page, seconds: float) -> None:
        """While the page goes on."""
        begun_s = time.monotonic()
        told = 0
        while (since_s := time.monotonic() - begun_s) < seconds:
            due = int(since_s * RATE) - told
            self._send([self._fresh(next(self._events)) for _ in range(due)])
            told += due
            page.wait_for_timeout(PER_TURN_S * 1_000)

    def close(self) -> None:
        self._socket.close()

    def _fresh(self, event: dict[str, Any]) -> dict[str, Any]:
        """Told as it happens, and once."""
        return {**event, "id": f"{event['id']}-{self.sent}"}

    def _send(self, events: list[dict[str, Any]]) -> None:
        self.sent += len(events)
        self._socket.sendall("".join(f"{json.dumps(each)}\n" for each in events).encode())


def _measured(page: Page, session: CDPSession, feed: Feed, seconds: float) -> Sample:
    feed.play(page, seconds)
    told = page.evaluate(TAKEN)
    session.send("HeapProfiler.collectGarbage")
    page.evaluate(TAKEN)  # the collection is ours
    metrics = session.send("Performance.getMetrics")["metrics"]
    heap = next(each["value"] for each in metrics if each["name"] == "JSHeapUsedSize")
    nodes = next(each["value"] for each in metrics if each["name"] == "Nodes")
    return {
        "longest_ms": told["longest"],
        "tasks": told["tasks"],
        "frames_per_s": told["frames"] / seconds,
        "heap_mb": heap / 1e6,
        "nodes": nodes,
    }


def _growth(sample: Sample, results: Results) -> float:
    """The heap, of what it was three samples ago: by then what the page keeps is bounded. The
    first ones, in which it fills, are compared with themselves.
    """
    before = results.samples.get(OURS, [])
    settled = before[-3] if len(before) >= FILLING else sample
    return sample["heap_mb"] / settled["heap_mb"]


def play(run: Run) -> Results:
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        return Results(lacks={OURS: "no Chromium is installed"})
    is_full = run.scale.part == FULL.part
    size = INSTANCES // min(run.scale.part, 20)
    seconds = SECONDS / run.scale.rounds if is_full else run.scale.seconds
    homes: dict[str, str | float | bool] = dict.fromkeys(HOMES, str(run.folder))
    results = Results()
    with stand(contestants.product(), run.folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=QUIET, env={**os.environ, **homes}
        )
        feed = Feed(server.served.feed, size)
        try:
            feed.fleet()
            page = browser.new_page()
            page.add_init_script(OBSERVED)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            page.goto(f"http://127.0.0.1:{server.port}/")
            page.wait_for_selector('[data-connection="live"] [data-instance]')
            feed.play(page, min(WARM_S, seconds))
            page.evaluate(TAKEN)
            for number in range(run.scale.rounds):
                page.keyboard.press(KEYS[number % len(KEYS)])
                sample = _measured(page, session, feed, seconds)
                results.add(OURS, {**sample, "growth": _growth(sample, results)})
                run.tell(f"frames {number + 1}: {sample}")
        finally:
            feed.close()
            browser.close()
    return results


FRAMES: Final = Scenario(
    "frames",
    "The dashboard in Chromium: 2,000 instances, 200 events/s, ten minutes",
    play,
    {
        "longest_ms": "longest task, ms",
        "tasks": "long tasks",
        "frames_per_s": "frames/s",
        "heap_mb": "heap, MB",
        "growth": "heap, of two minutes before",
        "nodes": "DOM nodes",
    },
    (
        Goal("longest task of the dashboard, ms", "longest_ms", "at most", 50),
        Goal("heap of the dashboard, of two minutes before", "growth", "at most", 1.1),
    ),
)
