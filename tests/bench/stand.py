"""A stand: one contestant's server on one core, its viewers and feed on the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.contestants import Contestant, Served
from tests.bench.pinned import Cores
from tests.bench.viewers import Viewers

HEARTBEAT_S: Final = 20.0
UNWATCHED: Final = 10_000_000  # topics from here on

Sample = dict[str, float]
"""What one contestant did in one round, by the figure's name, which ends in its unit."""


class Stand:
    """Stays up from round to round."""

    def __init__(self, contestant: Contestant, served: Served, viewers: Viewers) -> None:
        self.contestant = contestant
        self.server = served.process
        self.served = served
        self.port = served.port
        self.viewers = viewers

    def play(self, seconds: float, **how: Any) -> Sample:
        """One play of the feed (see `Viewers.play`), with what the server used for it, and what
        its other processes did.
        """
        others = self.served.others
        used_s, writes = self.server.cpu_s(), self.server.writes()
        before_s = {name: each.cpu_s() for name, each in others.items()}
        told = self.viewers.play(seconds, **how)
        used_s, writes = self.server.cpu_s() - used_s, self.server.writes() - writes
        deliveries = max(1, told["deliveries"])
        return {
            **told,
            **{f"{name}_cpu_s": each.cpu_s() - before_s[name] for name, each in others.items()},
            "cpu_s": used_s,
            "cpu_us": used_s * 1e6 / deliveries,
            "deliveries_per_s": told["deliveries"] / told["seconds"],
            "deliveries_per_cpu_s": told["deliveries"] / max(used_s, 1e-9),
            "writes_per_delivery": writes / deliveries,
            "events_per_read": told["deliveries"] / max(1, told["reads"]),
            "events_per_s": told["events"] / told["seconds"],
        }

    def play_unwatched(self, seconds: float, **how: Any) -> Sample:
        """One of events that nobody watches, at the end of which one comes that somebody does:
        when it is there, so were the others.
        """
        used_s = self.server.cpu_s()
        told = self.viewers.play(seconds, fanout=0, first=UNWATCHED, **how)
        self.viewers.play(0.001, rate=1, most=0, fanout=1, topics=1)
        used_s = self.server.cpu_s() - used_s
        return {"cpu_us": used_s * 1e6 / (told["events"] + 1)}

    def commits(self) -> dict[str, float]:
        """How long the product's commits took since the last call, in ms."""
        self.served.taker.say("")
        return self.served.taker.hear()


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
        served.kill()
