"""What a cursor promises: order, each event once, and a way back."""

import asyncio
from typing import Any

import pytest

from tests.conformance.scene import Scene, needs
from tests.conformance.stories import Instance, Run
from tests.conformance.viewer import PATIENCE_S


def _place(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


async def test_a_repeated_message_is_told_once(scene: Scene) -> None:
    """Queues deliver again, the stream does not."""
    run, instance = Run(), Instance()
    viewer = await scene.watching("*")
    first, second = run.step("CHECKING"), run.step("STARTING")
    turn = instance.turns("running")
    await scene.publish(first, first, turn, first, turn, second)
    told = [message["event"]["status"] for message in await viewer.statuses(3)]
    assert sorted(told) == ["CHECKING", "STARTING", "running"]
    await viewer.hears_no_more()


async def test_a_confirmation_is_not_told(scene: Scene) -> None:
    """The service reports the ending that the run itself has published: nobody learns anything."""
    run, other = Run(), Run()
    viewer = await scene.watching("*")
    await scene.publish(run.step("SUCCEEDED"))
    await viewer.told("status")
    await scene.publish(run.reported("SUCCEEDED"))
    await scene.publish(other.step())
    assert (await viewer.told("status"))["event"]["execution"]["name"] == other.name


async def test_what_is_late_is_marked_and_changes_nothing(scene: Scene) -> None:
    """A step that comes after a newer one is told as late; the snapshot keeps the newer."""
    run = Run()
    early, newest = run.step("CHECKING"), run.step("STARTING")
    viewer = await scene.watching("*")
    await scene.publish(newest)
    assert "late" not in await viewer.told("status")
    await scene.publish(early)
    assert (await viewer.told("status"))["late"] is True
    later = await scene.viewer()
    await later.subscribe("machine:standard", id="1")
    shown = [event["id"] for event in await later.snapshot() if run.name in event["id"]]
    assert shown == [newest["id"]]


async def test_the_service_has_the_last_word(scene: Scene) -> None:
    """An ending that only the service knows of is told, and stands."""
    run = Run()
    viewer = await scene.watching("*")
    await scene.publish(run.step("STARTING"))
    await viewer.told("status")
    await scene.publish(run.reported("ABORTED"))
    event = (await viewer.told("status"))["event"]
    assert (event["source"], event["status"], event["terminal"]) == ("states", "ABORTED", True)


@needs("strictly_once")
async def test_cursors_rise(scene: Scene) -> None:
    """From the snapshot on, over all that is told, however it was published."""
    viewer = await scene.viewer()
    await viewer.subscribe("*", id="1")
    places = [_place((await viewer.told("snapshot"))["cursor"])]
    runs = [Run(), Run("express")]
    for _ in range(5):
        await scene.publish(*(run.step() for run in runs))
        places += [_place(message["cursor"]) for message in await viewer.statuses(2)]
    assert places == sorted(set(places))


@needs("resume")
@pytest.mark.parametrize("by", ["message", "address"])
async def test_resume_brings_what_came_meanwhile(scene: Scene, by: str) -> None:
    """Each event after the cursor once, then `resumed`, then what is new."""
    run = Run()
    before = await scene.watching("*")
    await scene.publish(run.step("CHECKING"))
    since = (await before.told("status"))["cursor"]
    await before.wire.close()
    witness = await scene.watching("machine:standard")
    missed = [run.step("WAITING"), run.step("STARTING")]
    await scene.publish(*missed)
    await witness.statuses(2)
    if by == "message":
        viewer = await scene.viewer()
        await viewer.subscribe("*", id="7", since=since)
    else:
        viewer = await scene.viewer(f"?watch=*&since={since}")
    told = await viewer.statuses(2)
    assert [message["event"]["id"] for message in told] == [each["id"] for each in missed]
    resumed = await viewer.told("resumed")
    assert resumed["id"] == ("7" if by == "message" else None)
    await scene.publish(last := run.step("SUCCEEDED"))
    assert (await viewer.told("status"))["event"]["id"] == last["id"]


@needs("resume")
async def test_resume_where_nothing_was_missed(scene: Scene) -> None:
    """The end of a stream is as good a place as any."""
    viewer = await scene.watching("*")
    await scene.publish(Run().step())
    since = (await viewer.told("status"))["cursor"]
    again = await scene.viewer()
    await again.subscribe("*", id="1", since=since)
    assert (await again.told("resumed"))["cursor"] == since


@pytest.mark.parametrize("since", ["0badc0de-1", "nonsense", ""])
async def test_a_cursor_of_elsewhere_is_a_gap(scene: Scene, since: str) -> None:
    """Nobody is left to guess: a gap is said, then all that stands is shown."""
    run = Run()
    witness = await scene.watching("*")
    await scene.publish(step := run.step())
    await witness.told("status")
    viewer = await scene.viewer()
    await viewer.subscribe("machine:standard", id="9", since=since)
    assert (await viewer.told("gap"))["id"] == "9"
    assert step["id"] in [event["id"] for event in await viewer.snapshot()]
    await scene.publish(after := run.step("STARTING"))
    assert (await viewer.told("status"))["event"]["id"] == after["id"]


async def test_a_cursor_of_a_place_that_never_was_is_a_gap(scene: Scene) -> None:
    """A cursor of the right log, from its future."""
    viewer = await scene.viewer()
    await viewer.subscribe("*", id="1")
    cursor = (await viewer.told("snapshot"))["cursor"]
    beyond = f"{cursor.rpartition('-')[0]}-{_place(cursor) + 1_000_000}"
    again = await scene.viewer(f"?watch=*&since={beyond}")
    assert (await again.told("gap"))["id"] is None
    await again.snapshot()


async def test_a_heartbeat_has_the_cursor_where_nothing_is_pending(scene: Scene) -> None:
    """Who watches what is quiet still learns how far it has been told, and can resume there."""
    witness = await scene.watching("*")
    quiet = await scene.watching("machine:express")
    await scene.publish(Run("standard").step())
    cursor = (await witness.told("status"))["cursor"]
    async with scene.beating(), asyncio.timeout(PATIENCE_S):
        while (await quiet.told("heartbeat")).get("cursor") != cursor:
            pass


async def test_a_heartbeat_for_who_watches_nothing_has_no_cursor(scene: Scene) -> None:
    """It may be about to come back to where it was."""
    viewer = await scene.viewer()
    async with scene.beating():
        assert "cursor" not in await viewer.told("heartbeat")


@needs("skipped")
async def test_a_slow_client_is_told_what_was_left_out(scene: Scene) -> None:
    """It has the newest of each key, and the number of those it was spared."""
    slow, quick = await scene.watching("*"), await scene.watching("machine:express")
    await slow.wire.stall(on=True)
    run, last = Run(), Run("express")
    steps = [run.step(note="x" * 15_000) for _ in range(1_000)]  # 15 MB: no socket holds it
    for start in range(0, len(steps), 100):
        await scene.publish(*steps[start : start + 100])
    await scene.publish(last.step())
    await quick.told("status")
    await slow.wire.stall(on=False)
    told: list[dict[str, Any]] = []
    spared = 0
    while not told or told[-1]["execution"]["name"] != last.name:
        message = await slow.read()
        if message["op"] == "status":
            told.append(message["event"])
        elif message["op"] == "skipped":
            spared += message["count"]
    assert spared > 0
    assert len(told) + spared == len(steps) + 1
    assert told[-2]["id"] == steps[-1]["id"]
