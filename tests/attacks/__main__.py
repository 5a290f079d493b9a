"""`python -m tests.attacks`: every attack on a real server, and what others noticed of it.

Quiet windows and attacked ones take turns, and each attack is judged by the quiet ones around it.
The server has a core of its own, where the machine has two; readers share the other one with the
attacker, which yields to them. What an attacker takes from the readers' core is not the server's
doing, so the server is measured from within too (`tests.attacks.victim.Probe`).

`--only NAME` plays one, `--json` prints for programs, `--write` puts the table into
docs/security.md.
"""

import argparse
import asyncio
import os
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import uvloop

from consumer.core.limits import Limits
from infra.local.folder import run_folder
from tests.attacks import report
from tests.attacks.attacks import ATTACKS, Attack
from tests.attacks.report import Row
from tests.attacks.scene import Readers, Scene, readers, scene
from tests.attacks.victim import pin
from tests.attacks.windows import compare
from tests.soak.crowd import resident_bytes

READERS: Final = 50
EVENTS_PER_S: Final = 200.0
WINDOW_S: Final = 1.2  # × 200 events/s = 240, of which p99 is the third; × 50 readers = 12,000
ROUNDS: Final = 6  # × 2 × 1.4 s, or what the attack takes, × 19 attacks = 7 min
SETTLING_S: Final = 0.2  # between the windows: what ends late belongs to neither
# Shorter than by default, or what waits for them would make windows of 10 s and more.
LIMITS: Final = Limits(handshake_s=2.0)
HEARTBEAT_S: Final = 0.5
# 2,000 half-open × 20 kB of request, 256 kB of discarded bytes never kept, and the events.
GROWN_BOUND_MB: Final = 60


class Measured(NamedTuple):
    """A window's p99s in milliseconds, and how much of its core the server used."""

    server_ms: float
    readers_ms: float
    cpu: float
    frames: int


class Stand:
    """A scene, watched from outside and from within."""

    def __init__(self, found: Scene, honest: Readers) -> None:
        self.scene = found
        self._honest = honest
        self._began_s = 0.0
        self._cpu_s = 0.0

    async def begin(self) -> None:
        """Let what went before end, and begin a window."""
        await asyncio.sleep(SETTLING_S)
        await self._honest.window()
        self._cpu_s = (await self.scene.told()).cpu_s
        self._began_s = time.monotonic()

    async def end(self) -> Measured:
        """What was noticed in the window."""
        took_s = time.monotonic() - self._began_s
        honest, told = await self._honest.window(), await self.scene.told()
        cpu = (told.cpu_s - self._cpu_s) / took_s
        return Measured(told.window.p99_ms, honest.p99_ms, cpu, honest.count)

    async def quiet(self) -> Measured:
        await self.begin()
        await asyncio.sleep(WINDOW_S)
        return await self.end()

    async def play(self, attack: Attack, rounds: int) -> Row:
        """Quiet, attacked, quiet, …, quiet."""
        quiet, attacked = [await self.quiet()], []
        resident = peak = resident_bytes(self.scene.pid)
        endings: Counter[str] = Counter()
        for _ in range(rounds):
            await self.begin()
            endings += await self.scene.play(attack, attack.abreast, WINDOW_S, attack.abreast)
            attacked.append(await self.end())
            peak = max(peak, self.scene.peak_bytes)
            quiet.append(await self.quiet())
        grown_mb = (peak - resident) / 1e6
        served = all(each.frames for each in attacked)
        return Row(
            attack=attack.name,
            what_happens=attack.what_happens,
            ended=dict(endings.most_common()),
            server=compare([each.server_ms for each in quiet], [w.server_ms for w in attacked]),
            readers=compare([each.readers_ms for each in quiet], [w.readers_ms for w in attacked]),
            cpu=(_mean([each.cpu for each in quiet]), _mean([each.cpu for each in attacked])),
            grown_mb=grown_mb,
            bound_mb=GROWN_BOUND_MB,
            held=endings.keys() <= attack.endings and grown_mb < GROWN_BOUND_MB and served,
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cores() -> tuple[str, str]:
    """The server's core, and the others'; nobody's in particular where there is only one."""
    if not hasattr(os, "sched_getaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        return "", ""
    return str(cores[0]), ",".join(map(str, cores[1:]))


async def _run(
    folder: Path, chosen: Sequence[Attack], rounds: int, cores: tuple[str, str]
) -> tuple[list[Row], float]:
    """The rows, and by how much memory has grown in all."""
    rows = []
    first, others = cores
    async with (
        scene(folder, LIMITS, HEARTBEAT_S, EVENTS_PER_S, first) as found,
        readers(found.port, READERS, others) as honest,
    ):
        pin(others)
        os.nice(10)  # after the others have been started
        stand = Stand(found, honest)
        await stand.quiet()  # whose code runs for the first time
        resident = resident_bytes(found.pid)
        for attack in chosen:
            rows.append(await stand.play(attack, rounds))
            print(report.line(rows[-1]), end="", file=sys.stderr, flush=True)
        return rows, (resident_bytes(found.pid) - resident) / 1e6


def _conditions(rows: Sequence[Row], rounds: int, has_cores: bool, grown_mb: float) -> str:
    """Under which the figures were taken."""
    noise = [each.server.noise for each in rows]
    apart = "on a core of its own" if has_cores else "on the core of all"
    return (
        f"{time.strftime('%d %B %Y')}, {os.cpu_count()} cores, Python {platform.python_version()}."
        f" {EVENTS_PER_S:.0f} events/s to {READERS} readers;"
        f" {rounds} attacked windows of {WINDOW_S:g} s or longer per row, each between two quiet"
        f" ones; the server {apart}. Quiet windows over the quiet ones before them:"
        f" {min(each.median for each in noise):.2f}–{max(each.median for each in noise):.2f}×."
        f" Memory after all of it: {grown_mb:+.1f} MB."
    )


def main() -> int:
    """Returns 0 when every attack was held off."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks")
    parser.add_argument("--only", choices=[attack.name for attack in ATTACKS])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.write and asked.only:
        parser.error("--write puts all of them into the document")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = [attack for attack in ATTACKS if asked.only in (None, attack.name)]
    cores, load = _cores(), os.getloadavg()[0]
    with run_folder() as folder:
        rows, grown_mb = uvloop.run(_run(folder, chosen, asked.rounds, cores))
    conditions = _conditions(rows, asked.rounds, bool(cores[0]), grown_mb)
    text = report.report(rows, f"{conditions} Load before: {load:.1f}.")
    if asked.write:
        report.write(text)
    print("\n" + (msgspec.json.encode(rows).decode() if asked.json else text))
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
