"""`python -m tests.attacks`: every attack on a real server, and what others noticed of it.

Each is played with as many connections abreast as its row says, for some seconds, by a process
that yields to the others: what is measured is the server's doing, not the attacker's share of the
machine. `--only NAME` plays one, `--json` prints for programs.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from consumer.core.limits import Limits
from infra.local.folder import run_folder
from tests.attacks.attacks import ATTACKS, Attack
from tests.attacks.scene import Scene, readers, scene
from tests.soak.crowd import resident_bytes

READERS: Final = 50
QUIET_S: Final = 5.0  # 50 readers × 50 events/s × 5 s = 12,500 frames for a p99
LIMITS: Final = Limits(handshake_s=5.0)
# 2,000 half-open × 20 kB of request, 256 kB of discarded bytes never kept, and the events.
GROWN_BOUND_MB: Final = 60


async def _play(attack: Attack, found: Scene, honest: Any, seconds: float) -> dict[str, Any]:
    await honest.figures()
    await asyncio.sleep(QUIET_S)
    before = await honest.figures()
    resident = resident_bytes(found.pid)
    endings = await found.play(attack, attack.abreast, seconds, attack.abreast)
    during = await honest.figures()
    grown_mb = (found.peak_bytes - resident) / 1e6
    unforeseen = sorted(set(endings) - attack.endings)
    return {
        "attack": attack.name,
        "connections": sum(endings.values()),
        "ended": dict(endings.most_common()),
        "p99_ms_before": before["p99_ms"],
        "p99_ms_during": during["p99_ms"],
        "grown_mb": round(grown_mb, 1),
        "held": not unforeseen and grown_mb < GROWN_BOUND_MB and during["frames"] > 0,
    }


async def _run(folder: Path, chosen: Iterable[Attack], seconds: float) -> list[dict[str, Any]]:
    rows = []
    async with (
        scene(folder, LIMITS, heartbeat_s=1.0) as found,
        readers(found.port, READERS) as honest,
    ):
        os.nice(10)  # after the others have been started
        for attack in chosen:
            rows.append(await _play(attack, found, honest, seconds))
            print(".", end="", file=sys.stderr, flush=True)
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| attack | what happened | others' p99 ms before / during | memory MB | held |",
             "|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        ended = ", ".join(f"{n} × {how}" for how, n in row["ended"].items())
        p99 = f"{row['p99_ms_before']} / {row['p99_ms_during']}"
        held = "yes" if row["held"] else "NO"
        lines.append(f"| {row['attack']} | {ended} | {p99} | {row['grown_mb']:+} | {held} |")
    return "\n".join(lines)


def main() -> int:
    """Returns 0 when every attack was held off."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks")
    parser.add_argument("--only", choices=[attack.name for attack in ATTACKS])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = [attack for attack in ATTACKS if asked.only in (None, attack.name)]
    with run_folder() as folder:
        rows = asyncio.run(_run(folder, chosen, asked.seconds))
    print("\n" + (json.dumps(rows, indent=1) if asked.json else _table(rows)))
    return 0 if all(row["held"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
