"""Very many viewers come back at once: a simulation of one replica, by what benchmarks measured.

Viewers go to any replica at each try, and all replicas are alike: as many leave this one for others
as come from them, so it stands for all. Its door is the product's, its clients wait as the
dashboard does. Its core serves what it follows first, then whoever knocks, then handshakes in turn.
"""

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from consumer.core.limits import Bucket, Limits
from consumer.edges.door import BURST_S

BACKOFF_FIRST_S: Final = 0.5  # as stream.js has it: doubled each time, half of it by chance
BACKOFF_LONGEST_S: Final = 30.0


class Costs(NamedTuple):
    """What things take of a replica's core, in µs."""

    handshake_us: float
    """With the subscription and the first event of its snapshot."""
    knock_us: float
    """A connection that is not let in, or has to go before its turn."""
    event_us: float
    """Each further event of a snapshot."""


class Fleet(NamedTuple):
    """What one replica has to do, and by what means."""

    viewers: int
    snapshot_events: int
    """Of each viewer."""
    event_bytes: int
    busy: float
    """The share of its core that following the log and telling viewers takes meanwhile."""
    network_bytes_per_s: float
    limits: Limits


@dataclass
class Told:
    """What became of the storm. Times in seconds since it began."""

    back_s: list[float] = field(default_factory=list)
    """When each viewer had its snapshot, rising; those that never had are missing."""
    tries: int = 0
    refused: int = 0
    """By the door's rate."""
    pushed_out: int = 0
    """Of a full waiting room, by newer ones."""
    over_capacity: int = 0
    """Closed with 1013."""
    used_s: float = 0.0
    """Of the core, for all of this."""

    def until_s(self, share: float, viewers: int) -> float:
        """When such a share of the viewers was back; infinite where it never was."""
        place = max(1, round(share * viewers))
        return self.back_s[place - 1] if place <= len(self.back_s) else inf


def play(
    fleet: Fleet,
    costs: Costs,
    arrives_s: Callable[[random.Random], float],
    dice: random.Random,
    *,
    within_s: float,
) -> Told:
    """Have every viewer come at a moment of `arrives_s`, and again until it is let in."""
    if fleet.busy >= 1:
        raise ValueError("the replica cannot even follow the log")
    replica = _Replica(fleet, costs, dice)
    for viewer in range(fleet.viewers):
        replica.comes(viewer, arrives_s(dice))
    for now_s in replica.moments():
        if now_s > within_s:
            break
    replica.told.back_s.sort()
    return replica.told


class _Replica:
    """Goes from one moment to the next: somebody knocks, or a handshake is done."""

    def __init__(self, fleet: Fleet, costs: Costs, dice: random.Random) -> None:
        self.told = Told()
        self._fleet = fleet
        self._dice = dice
        self._speed = 1 - fleet.busy
        self._knock_s = costs.knock_us / 1e6
        more = fleet.snapshot_events - 1
        self._handshake_s = (costs.handshake_us + more * costs.event_us) / 1e6
        self._snapshot_s = fleet.snapshot_events * fleet.event_bytes / fleet.network_bytes_per_s
        rate = fleet.limits.handshakes_per_s
        self._rate = Bucket(rate, rate * BURST_S)
        self._coming: list[tuple[float, int]] = []
        self._attempts = [0] * fleet.viewers
        self._waiting: OrderedDict[int, None] = OrderedDict()  # half open, the oldest first
        self._left_s = 0.0  # of work: until the first of them is done, if anybody waits
        self._now_s = 0.0
        self._sent_s = 0.0  # when the network will have sent all that it was given
        self._admitted = 0

    def comes(self, viewer: int, at_s: float) -> None:
        heapq.heappush(self._coming, (at_s, viewer))

    def moments(self) -> Iterator[float]:
        """Each moment at which something happens, when it has."""
        while self._coming or self._waiting:
            done_s = self._now_s + self._left_s / self._speed if self._waiting else inf
            if self._coming and self._coming[0][0] <= done_s:
                at_s, viewer = heapq.heappop(self._coming)
                self._left_s = max(0.0, self._left_s - (at_s - self._now_s) * self._speed)
                self._now_s = at_s
                self._knock(viewer)
            else:
                self._now_s = done_s
                viewer, _ = self._waiting.popitem(last=False)
                self._left_s = self._handshake_s if self._waiting else 0.0
                self.told.used_s += self._handshake_s
                self._admit(viewer)
            yield self._now_s

    def _knock(self, viewer: int) -> None:
        self.told.tries += 1
        if not self._rate.take(self._now_s):
            self.told.refused += 1
            self._turn_away(viewer)
            return
        if not self._waiting:  # after what knocks may have left to be done
            self._left_s += self._handshake_s
        self._waiting[viewer] = None
        if len(self._waiting) > self._fleet.limits.half_open:
            oldest, _ = self._waiting.popitem(last=False)
            self.told.pushed_out += 1
            self._turn_away(oldest)

    def _turn_away(self, viewer: int) -> None:
        """It comes again; what it took delays whoever is served."""
        self._left_s += self._knock_s
        self.told.used_s += self._knock_s
        self._come_again(viewer)

    def _come_again(self, viewer: int) -> None:
        attempt = self._attempts[viewer]
        self._attempts[viewer] = attempt + 1
        longest_s = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2**attempt)
        self.comes(viewer, self._now_s + longest_s * (1 + self._dice.random()) / 2)

    def _admit(self, viewer: int) -> None:
        if self._admitted >= self._fleet.limits.connections:
            self.told.over_capacity += 1
            self._come_again(viewer)
            return
        self._admitted += 1
        self._sent_s = max(self._sent_s, self._now_s) + self._snapshot_s
        self.told.back_s.append(self._sent_s)
