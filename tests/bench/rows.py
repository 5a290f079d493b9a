"""What a scenario found: figures, one of each contestant per round, and what they are judged by."""

import argparse
import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench import rounds


class Row(NamedTuple):
    """One contestant's figures of one kind."""

    scenario: str
    contestant: str
    measure: str
    figures: list[float]
    """One per round, in their order: figures of the same place were taken side by side."""

    def __str__(self) -> str:
        low, high = min(self.figures), max(self.figures)
        median = statistics.median(self.figures)
        return (
            f"{self.scenario:34} {self.contestant:24} {self.measure:20}"
            f" {median:>12,.5g}  ({low:,.5g}–{high:,.5g})"
        )


def find(rows: Sequence[Row], scenario: str, contestant: str, measure: str) -> Row:
    """The row of that name. Raises `StopIteration` where there is none."""
    return next(row for row in rows if row[:3] == (scenario, contestant, measure))


def compared(rows: Sequence[Row], ours: str) -> list[str]:
    """Each of our figures over everyone else's of the same kind, as lines to read."""
    return [
        f"{row.scenario:34} {ours} / {row.contestant}, {row.measure}:"
        f" {rounds.paired(find(rows, row.scenario, ours, row.measure).figures, row.figures)}"
        for row in rows
        if row.contestant != ours
        and min(row.figures) > 0
        and any(each[:3] == (row.scenario, ours, row.measure) for each in rows)
    ]


def tell(run: Callable[[int, float], Awaitable[list[Row]]], ours: str) -> None:
    """Run a scenario as the command line says, and print what it found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=rounds.ROUNDS)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    chosen = parser.parse_args()
    rows: list[Row] = asyncio.run(_awaited(run(chosen.rounds, chosen.seconds)))
    print(*rows, *compared(rows, ours), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps([row._asdict() for row in rows], indent=1))


async def _awaited(running: Awaitable[list[Row]]) -> list[Row]:
    return await running
