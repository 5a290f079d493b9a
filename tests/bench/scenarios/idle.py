"""Connections that wait: what each holds in memory, and how fast they come in."""

import time
from typing import Final

from tests.bench import contestants, rounds
from tests.bench.contestants import present
from tests.bench.goals import Goal
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import stand

CONNECTIONS: Final = 10_000
SETTLE_S: Final = 1.0  # after the last handshake: what is freed late
FEWER: Final = 3  # rounds by this: memory hardly varies, and each begins with a new process


def play(run: Run) -> Results:
    contesting = [contestants.product(), contestants.raw(1), *contestants.peers()]
    results = Results(lacks={each.name: each.lacks for each in contesting if each.lacks})
    count = CONNECTIONS // run.scale.part
    for number, each in rounds.turns(present(contesting), max(1, run.scale.rounds // FEWER)):
        with stand(each, run.folder / f"{number}") as found:
            time.sleep(run.scale.seconds / 2)
            before, used_s = found.server.memory(), found.server.cpu_s()
            told = found.viewers.connect(found.port, count, 1)
            used_s = found.server.cpu_s() - used_s
            found.viewers.wait(min(SETTLE_S, run.scale.seconds))
            after = found.server.memory()
        sample = {
            "kib": (after.private - before.private) / 1024 / count,
            "resident_kib": (after.resident - before.resident) / 1024 / count,
            "handshakes_per_s": told["connected"] / told["seconds"],
            "handshake_cpu_us": used_s * 1e6 / count,
            "connected": told["connected"],
        }
        results.add(each.name, sample)
        run.tell(
            f"{IDLE.name} {number + 1} {each.name}: {sample['kib']:.2f} KiB each,"
            f" {sample['handshakes_per_s']:,.0f} handshakes/s"
        )
    return results


IDLE: Final = Scenario(
    "idle",
    "10,000 idle connections with a subscription each",
    play,
    {
        "kib": "private KiB/connection",
        "resident_kib": "resident KiB/connection",
        "handshakes_per_s": "handshakes/s",
        "handshake_cpu_us": "CPU µs/handshake",
    },
    (
        Goal("private memory per idle connection, KiB", "kib", "at most", 3.0),
        Goal("handshakes/s", "handshakes_per_s", "at least", 3_000),
    ),
    ("kib",),
)
