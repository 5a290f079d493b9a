"""A stand: one contestant's server on one core, its viewers and feed on the other."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.contestants import Contestant, Served
from tests.bench.pinned import Cores
from tests.bench.viewers import Viewers

HEARTBEAT_S: Final = 20.0
LOOK_S: Final = 0.02
QUIET_LOOKS: Final = 3  # in a row, or one that another process had the core in would do
QUIET_SHARE: Final = 0.05  # of the core

Sample = dict[str, float]
"""What one contestant did in one round, by the figure's name, which ends in its unit."""


class Stand:
    """Stays up from round to round."""

    def __init__(self, contestant: Contestant, served: Served, viewers: Viewers) -> None:
        self.contestant = contestant
        self.server = served.process
        self.port = served.port
        self.viewers = viewers

    def play(self, seconds: float, **how: Any) -> Sample:
        """One play of the feed (see `Viewers.play`), with what the server used for it."""
        used_s = self.server.cpu_s()
        told = self.viewers.play(seconds, **how)
        self._settle()
        used_s = self.server.cpu_s() - used_s
        deliveries = max(1, told["deliveries"])
        return {
            **told,
            "cpu_s": used_s,
            "cpu_us": used_s * 1e6 / deliveries,
            "deliveries_per_s": told["deliveries"] / told["seconds"],
            "deliveries_per_cpu_s": told["deliveries"] / max(used_s, 1e-9),
            "events_per_read": told["deliveries"] / max(1, told["reads"]),
            "events_per_s": told["events"] / told["seconds"],
        }

    def _settle(self) -> None:
        """Wait until it has finished what nobody waits for: events that have no viewer."""
        quiet, used_s = 0, self.server.cpu_s()
        while quiet < QUIET_LOOKS:
            time.sleep(LOOK_S)
            before_s, used_s = used_s, self.server.cpu_s()
            quiet = quiet + 1 if used_s - before_s < QUIET_SHARE * LOOK_S else 0

    def commits(self) -> dict[str, float]:
        """How long the product's commits took since the last call, in ms."""
        self.server.say("")
        return self.server.hear()


@contextmanager
def stand(
    contestant: Contestant, folder: Path, heartbeat_s: float = HEARTBEAT_S
) -> Iterator[Stand]:
    """Started, and ended by the end of the block; nobody is connected yet."""
    cores = Cores.here()
    its_folder = folder / contestant.dialect / contestant.name.replace(" ", "-").replace(",", "")
    its_folder.mkdir(parents=True, exist_ok=True)
    served = contestant.start(its_folder, cores.server, heartbeat_s)
    try:
        viewers = Viewers(contestant.dialect, cores.load, its_folder / "viewers")
        try:
            viewers.feed(served.feed)
            yield Stand(contestant, served, viewers)
        finally:
            viewers.kill()
    finally:
        served.process.kill()
