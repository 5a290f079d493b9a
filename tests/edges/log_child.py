"""A process of its own with the log open, for what cannot be done to our own."""

import os
import subprocess
import sys
from pathlib import Path

from consumer.core.entries import Entry
from consumer.edges.sqlite_log import SqliteLog

OPENED = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from consumer.ports import LogUnusable
from consumer.ports import LogUnavailable
from tests.core import examples
from tests.edges.test_sqlite_log import make

def batch(n, size):
    return [examples.step(1, run=f"run-{n}-{m}", detail={"n": n}) for m in range(size)]

async def opened():
    log = make(Path(sys.argv[1]))
    await log.open()
    return log
"""


def child(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPENED + script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def contents(log: SqliteLog) -> list[Entry]:
    entries: list[Entry] = []
    while more := await log.read(entries[-1].place if entries else 0, log.head):
        entries += more
    return entries
