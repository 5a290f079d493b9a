"""What is watched, and that a snapshot and what follows are one motion."""

import asyncio
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.conformance.scene import Scene, needs
from tests.conformance.stories import Instance, Run

MAX_FRAME_BYTES: Final = 256 * 1024


def _ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["id"] for event in events]


async def test_a_snapshot_holds_the_newest_of_every_key(scene: Scene) -> None:
    """Not what came before, and each key once."""
    run, instance = Run(), Instance()
    witness = await scene.watching("*")
    await scene.publish(run.step("CHECKING"), run.step("STARTING"))
    await scene.publish(instance.turns("pending"), instance.turns("running", after_s=9))
    await witness.statuses(4)
    viewer = await scene.viewer()
    await viewer.subscribe("*", id="1")
    shown = [
        (event["instance_id"], event["status"])
        for event in await viewer.snapshot()
        if event["instance_id"] in (run.instance, instance.id)
    ]
    assert sorted(shown) == sorted([(run.instance, "STARTING"), (instance.id, "running")])


async def test_nothing_falls_between_snapshot_and_live(scene: Scene) -> None:
    """Of a run that goes on while clients subscribe, each gets every later step once."""
    run = Run()
    steps = [run.step(status) for status in ("CHECKING", "WAITING", "STARTING", "VERIFYING") * 10]
    viewers = []
    for number, step in enumerate(steps):
        await scene.publish(step)
        if number % 5 == 0:
            viewers.append(await scene.viewer())
            await viewers[-1].subscribe("*", id="1")
    for viewer in viewers:
        known = [each for each in _ids(await viewer.snapshot()) if run.name in each]
        first = _ids(steps).index(known[-1]) + 1 if known else 0
        told = await viewer.statuses(len(steps) - first)
        assert _ids([message["event"] for message in told]) == _ids(steps)[first:]


async def test_the_address_subscribes(scene: Scene) -> None:
    """A bare client need not say a word; the answer's id is null."""
    run = Run()
    viewer = await scene.viewer(f"?watch={quote('instance:' + run.instance)}&watch=machine:express")
    assert (await viewer.told("snapshot"))["id"] is None
    steps = [run.step(), Run("express").step()]
    await scene.publish(Run("standard").step(), *steps)
    assert _ids([message["event"] for message in await viewer.statuses(2)]) == _ids(steps)


@pytest.mark.parametrize("kind", ["*", "machine", "name", "arn", "instance"])
@pytest.mark.parametrize("machine", ["standard", "express"])
async def test_every_pattern_shows_what_it_matches(scene: Scene, kind: str, machine: str) -> None:
    """Live and in a snapshot; and no pattern but `*` shows another machine's run."""
    run, stranger = Run(machine), Run("express" if machine == "standard" else "standard")
    pattern = {
        "*": "*",
        "machine": f"machine:{machine}",
        "name": f"execution:{run.name}",
        "arn": f"execution:{run.arn}",
        "instance": f"instance:{run.instance}",
    }[kind]
    live = await scene.watching(pattern)
    steps = [run.step("CHECKING"), run.step("SUCCEEDED")]
    await scene.publish(stranger.step(), *steps)
    count = 3 if kind == "*" else 2
    told = _ids([message["event"] for message in await live.statuses(count)])
    assert [each for each in told if run.name in each] == _ids(steps)
    later = await scene.viewer()
    await later.subscribe(pattern, id="2")
    shown = [each for each in _ids(await later.snapshot()) if run.name in each]
    assert shown == (_ids(steps) if kind in ("name", "arn") else _ids(steps[1:]))


async def test_an_instance_is_watched_by_its_own_events(scene: Scene) -> None:
    """What EC2 says of it matches, and what it says of another does not."""
    instance, other = Instance(), Instance()
    viewer = await scene.watching(f"instance:{instance.id}")
    await scene.publish(other.turns("running"), instance.turns("stopping"))
    status = await viewer.told("status")
    assert status["event"]["instance_id"] == instance.id
    assert (status["event"]["source"], status["event"]["status"]) == ("ec2", "stopping")


@pytest.mark.parametrize("by", ["name", "arn"])
async def test_one_execution_is_told_in_full(scene: Scene, by: str) -> None:
    """The snapshot of a named execution holds all its events, the newest last."""
    run = Run()
    steps = [run.step("CHECKING"), run.step("WAITING"), run.step("STARTING")]
    watcher = await scene.watching(f"execution:{run.name}")
    await scene.publish(*steps)
    await watcher.statuses(3)
    viewer = await scene.viewer()
    await viewer.subscribe(f"execution:{getattr(run, by)}", id="1")
    assert _ids(await viewer.snapshot()) == _ids(steps)


async def test_an_event_comes_once_however_many_patterns_match(scene: Scene) -> None:
    """Subscribed to in one request or in several."""
    run = Run()
    viewer = await scene.watching("*", "machine:standard")
    await viewer.subscribe(f"instance:{run.instance}", id="2")
    await viewer.snapshot()
    steps = [run.step("CHECKING"), run.step("STARTING")]
    await scene.publish(*steps)
    told = await viewer.statuses(2)
    assert _ids([message["event"] for message in told]) == _ids(steps)
    await viewer.hears_no_more()


@needs("request_order")
async def test_unsubscribed_is_not_told(scene: Scene) -> None:
    """What other patterns match still is."""
    gone, kept = Run("express"), Run("standard")
    viewer = await scene.watching("machine:express", "machine:standard")
    await viewer.say("unsubscribe", id="2", watch=["machine:express"])
    await viewer.subscribe(f"execution:{kept.name}", id="3")  # answered in turn, so: it is done
    await viewer.snapshot()
    await scene.publish(gone.step(), kept.step())
    assert (await viewer.told("status"))["event"]["execution"]["name"] == kept.name


async def test_a_large_snapshot_comes_in_frames(scene: Scene) -> None:
    """Each below its bound; all but the last say so, and only the last one's cursor is a place."""
    runs = [Run() for _ in range(20)]
    watcher = await scene.watching("machine:standard")
    await scene.publish(*(run.step(note="x" * 15_000) for run in runs))  # 300 kB
    await watcher.statuses(20)
    viewer = await scene.viewer()
    await viewer.subscribe("machine:standard", id="1")
    pages = [await viewer.told("snapshot")]
    while pages[-1]["more"]:
        pages.append(await viewer.told("snapshot"))
    assert len(pages) > 1
    assert all(len(text.encode()) < MAX_FRAME_BYTES for text in viewer.texts)
    names = [event["execution"]["name"] for page in pages for event in page["events"]]
    assert {run.name for run in runs} <= set(names)
    assert len(names) == len(set(names))


async def test_many_viewers_are_told_the_same(scene: Scene) -> None:
    """Each gets all of it, in the same order."""
    viewers = [await scene.watching("*") for _ in range(4)]
    runs = [Run(), Run("express")]
    await scene.publish(*(run.step(status) for status in ("CHECKING", "STARTING") for run in runs))
    told = await asyncio.gather(*(viewer.statuses(4) for viewer in viewers))
    assert all(each == told[0] for each in told)


async def test_a_status_is_the_same_bytes_for_all(scene: Scene) -> None:
    """Whatever each of them watches and however it came in."""
    run = Run()
    viewers = [
        await scene.watching("*"),
        await scene.watching(f"execution:{run.arn}", "machine:standard"),
        await scene.viewer("?watch=machine:standard"),
    ]
    await viewers[-1].snapshot()
    await scene.publish(run.step())
    for viewer in viewers:
        await viewer.told("status")
    assert len({viewer.texts[-1] for viewer in viewers}) == 1
