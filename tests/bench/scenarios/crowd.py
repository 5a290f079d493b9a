"""A crowd: 50,000 connections accepted, held, pinged and drained, by the product alone."""

from typing import Final

from tests.bench import contestants
from tests.bench.goals import OURS, Goal
from tests.bench.pinned import most_files
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import stand

CONNECTIONS: Final = 50_000
OTHER_FILES: Final = 300  # the product's own, its listener's, Python's
HEARTBEAT_S: Final = 5.0
BEATS: Final = 2.5  # held for so many
DRAIN_S: Final = 60.0
DRAINING: Final = "1012"


def play(run: Run) -> Results:
    results = Results()
    wanted = CONNECTIONS // run.scale.part
    count = min(wanted, most_files() - OTHER_FILES)
    heartbeat_s = HEARTBEAT_S if run.scale.part == 1 else run.scale.seconds
    with stand(contestants.product(), run.folder, heartbeat_s) as found:
        told = found.viewers.connect(found.port, count, 1)
        held = found.viewers.wait(heartbeat_s * BEATS)
        memory = found.server.memory()
        found.server.ask_to_stop()
        drained = found.viewers.wait_until_closed(DRAIN_S)
    sample = {
        "wanted": wanted,
        "connected": told["connected"],
        "handshakes_per_s": told["connected"] / told["seconds"],
        "held": held["held"],
        "pings": held["pings"] / count,
        "private_mb": memory.private / 1e6,
        "drained": drained["closes"].get(DRAINING, 0),
        "drain_s": drained["seconds"],
    }
    results.add(OURS, sample)
    run.tell(f"{CROWD.name}: {sample}")
    if count < wanted:
        results.lacks[f"{wanted:,} connections"] = (
            f"a process may open {most_files():,} files here; {count:,} were made"
        )
    return results


CROWD: Final = Scenario(
    "crowd",
    "50,000 connections accepted, held, pinged and drained",
    play,
    {
        "connected": "accepted",
        "handshakes_per_s": "handshakes/s",
        "held": "held",
        "pings": "pings each",
        "private_mb": "private MB of the process",
        "drained": "drained with 1012",
        "drain_s": "drain s",
    },
    (Goal("connections accepted, held and drained", "drained", "at least", CONNECTIONS),),
)
