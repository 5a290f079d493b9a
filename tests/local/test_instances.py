"""EC2's events are played as EventBridge would deliver them."""

import asyncio
import json
from datetime import datetime
from typing import Any

from infra.local.instances import EventPlayer

WEB = "i-0123456789abcdef0"


class Region:
    """A fake EC2 and a fake queue on one fake clock: sleeping makes it go on."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states
        self.now_s = 1000.4
        self.script: list[tuple[float, dict[str, str]]] = []
        self.sent: list[dict[str, Any]] = []
        self.sent_at_s: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def read(self) -> dict[str, str]:
        for at_s, states in self.script:
            if self.now_s >= at_s:
                self.states = states
        return dict(self.states)

    async def send(self, body: str) -> None:
        self.sent.append(json.loads(body))
        self.sent_at_s.append(self.now_s)

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.now_s + seconds, woken))
        await woken.wait()

    async def play(self, until_s: float) -> None:
        """Run the player until the clock says `until_s`."""
        player = EventPlayer(
            self.read,
            self.send,
            account="000000000000",
            region="us-east-1",
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )
        task = asyncio.create_task(player.run(dict(self.states)))
        while self.now_s < until_s:
            for _ in range(10):  # everything that can go on at this instant does
                await asyncio.sleep(0)
            assert not task.done(), task
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            self.now_s, woken = self._sleepers.pop(0)
            woken.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def told(self) -> list[tuple[str, str]]:
        return [(event["time"][-3:], event["detail"]["state"]) for event in self.sent]


async def test_starting_is_pending_and_a_second_later_running() -> None:
    """Two events, at least a second apart, the later one in a later whole second."""
    region = Region({WEB: "stopped"})
    region.script = [(1001.0, {WEB: "running"})]
    await region.play(1010)
    states = [event["detail"]["state"] for event in region.sent]
    times = [datetime.fromisoformat(event["time"]) for event in region.sent]
    assert states == ["pending", "running"]
    assert region.sent_at_s[1] - region.sent_at_s[0] >= 1
    assert times[0] < times[1]
    assert all(time.microsecond == 0 for time in times)


async def test_the_envelope_is_event_bridges() -> None:
    """What a rule's target receives for an instance."""
    region = Region({WEB: "running"})
    region.script = [(1001.0, {WEB: "stopped"})]
    await region.play(1010)
    first, second = region.sent
    assert first["id"] != second["id"]
    assert first["time"] == "1970-01-01T00:16:41Z"
    assert {name: first[name] for name in first.keys() - {"id", "time"}} == {
        "version": "0",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "000000000000",
        "region": "us-east-1",
        "resources": [f"arn:aws:ec2:us-east-1:000000000000:instance/{WEB}"],
        "detail": {"instance-id": WEB, "state": "stopping"},
    }


async def test_what_does_not_change_is_not_told() -> None:
    """The states that everything begins with are known, not news."""
    region = Region({WEB: "running"})
    await region.play(1010)
    assert region.sent == []


async def test_quick_changes_of_one_instance_wait_for_each_other() -> None:
    """Four events in four seconds, though it was started and stopped within one."""
    region = Region({WEB: "stopped"})
    region.script = [(1001.0, {WEB: "running"}), (1001.5, {WEB: "stopped"})]
    await region.play(1010)
    states = [state for _, state in region.told()]
    seconds = [second for second, _ in region.told()]
    assert states == ["pending", "running", "stopping", "stopped"]
    assert len(set(seconds)) == 4
    assert seconds == sorted(seconds)


async def test_instances_do_not_wait_for_each_other() -> None:
    """Two that change together are told of in the same second."""
    other = "i-0fedcba9876543210"
    region = Region({WEB: "running", other: "running"})
    region.script = [(1001.0, {WEB: "terminated", other: "stopped"})]
    await region.play(1010)
    assert {state for second, state in region.told()[:2]} == {"shutting-down", "stopping"}
    assert region.told()[0][0] == region.told()[1][0]


async def test_a_new_instance_is_told_of() -> None:
    """Launching is a change, too."""
    region = Region({})
    region.script = [(1001.0, {WEB: "running"})]
    await region.play(1010)
    assert [state for _, state in region.told()] == ["pending", "running"]
