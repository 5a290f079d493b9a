"""A fleet and its executions, as a busy day makes them: for pictures, loads and large tests.

Everything is chosen by a seed, so that two pictures differ by the page alone.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from tests.browser.stage import execution_event, instance_event

Event = dict[str, Any]

ROLES: Final = ("web", "api", "worker", "build", "batch", "cache")
STATES: Final = ("running",) * 12 + ("stopped",) * 5 + ("pending", "stopping")
# Steps of a Standard run that starts an instance: state, status, seconds after the one before.
STARTS: Final = (
    ("PublishWaiting", "WAITING", 0.0),
    ("PublishChecking", "CHECKING", 29.1),
    ("PublishStarting", "STARTING", 0.6),
    ("PublishVerifying", "VERIFYING", 1.2),
    ("PublishVerifying", "VERIFYING", 15.3),
    ("PublishSucceeded", "SUCCEEDED", 15.2),
)
EXPRESS: Final = (
    ("PublishChecking", "CHECKING", 0.0),
    ("PublishStopping", "STOPPING", 0.4),
    ("PublishSucceeded", "SUCCEEDED", 0.8),
)
FAILURES: Final = (
    ("InsufficientCapacity", "There is not enough capacity for c7g.4xlarge in us-east-1b."),
    ("NotPermitted", "You are not authorized to perform this operation: ec2:StartInstances."),
    ("InstanceStateConflict", "the instance is stopping and will not become running"),
)


def moment(seconds: float) -> str:
    """Seconds since 1970 as the contract writes them."""
    whole = datetime.fromtimestamp(seconds, UTC)
    return whole.strftime("%Y-%m-%dT%H:%M:%S.") + f"{whole.microsecond // 1000:03d}Z"


def instance_id(number: int) -> str:
    return f"i-{0x0C5A_0000_0000_0000_0 + number * 0x9E37_79B1:017x}"


class Story:
    """`size` instances, some with executions under way, at `now_s` (seconds since 1970)."""

    def __init__(self, size: int, now_s: float, *, seed: int = 7) -> None:
        self.size = size
        self.now_s = now_s
        self._random = random.Random(seed)
        self._runs = 0
        self._open: list[tuple[str, int, str, int]] = []  # name, instance, machine, steps told
        self.states = [self._random.choice(STATES) for _ in range(size)]

    def fleet(self) -> list[Event]:
        """Every instance as it stands."""
        return [
            self.instance(number, self.now_s - 7_200 / (1 + number)) for number in range(self.size)
        ]

    def instance(self, number: int, time_s: float) -> Event:
        role = ROLES[number % len(ROLES)]
        return instance_event(
            self.states[number],
            instance_id=instance_id(number),
            time=moment(time_s),
            detail={"name": f"{role}-{number // len(ROLES) + 1}"},
        )

    def runs(self, count: int) -> list[Event]:
        """The newest event each of executions that ended or are under way."""
        return [self.run(number)[-1] for number in range(count)]

    def run(
        self, number: int, *, steps: int | None = None, fails: bool | None = None
    ) -> list[Event]:
        """The steps of one execution, the same for the same number."""
        chance = random.Random(number)
        machine = "express" if number % 3 == 2 else "standard"
        whole = EXPRESS if machine == "express" else STARTS
        told = whole[: steps or chance.randint(1, len(whole))]
        begun_s = self.now_s - sum(pause for *_, pause in told) - chance.random() * 4 - number * 0.3
        events = []
        for seq, (state, status, pause_s) in enumerate(told, 1):
            begun_s += pause_s
            events.append(self._step(number, machine, seq, state, status, begun_s))
        if fails or (fails is None and chance.random() < 0.12):
            error, cause = chance.choice(FAILURES)
            events.append(
                self._step(
                    number, machine, len(told) + 1, "PublishFailed", "FAILED", begun_s + 0.3,
                    reason={"error": error, "cause": cause},
                )
            )  # fmt: skip
        return events

    def _step(
        self,
        number: int,
        machine: str,
        seq: int,
        state: str,
        status: str,
        time_s: float,
        **more: Any,
    ) -> Event:
        return execution_event(
            status,
            name=f"{'deploy' if machine == 'express' else 'nightly'}-{number}",
            seq=seq,
            time=moment(time_s),
            instance_id=instance_id(number * 5 % self.size),
            state=state,
            machine=machine,
            detail={"action": "stop" if machine == "express" else "start"},
            **more,
        )

    def goes_on(self) -> Iterator[Event]:
        """Events without end, one after another: executions that step on, instances that change."""
        open_: list[Iterator[Event]] = []
        number = 100_000
        while True:
            if self._random.random() < 0.35:
                at = self._random.randrange(self.size)
                self.states[at] = self._random.choice(STATES)
                self.now_s += 0.005
                yield self.instance(at, self.now_s)
                continue
            if len(open_) < 40:
                number += 1
                open_.append(iter(self.run(number, fails=number % 17 == 0)))
            run = self._random.choice(open_)
            event = next(run, None)
            if event is None:
                open_.remove(run)
                continue
            self.now_s += 0.005
            yield {**event, "time": moment(self.now_s)}
