"""The command line as a process, beside servers of this machine."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WITHIN_S = 20


class Command:
    """`statuswire …`, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next one on standard output."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def told(self, op: str) -> Any:
        """The next JSON line of a kind."""
        while line := await self.line():
            told = json.loads(line)
            if told["op"] == op:
                return told
        raise AssertionError(f"ended without {op}")

    async def end(self) -> tuple[int, str, str]:
        """Its exit code, and the rest of what it said on both outputs."""
        async with asyncio.timeout(WITHIN_S):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def command(
    *arguments: str, environment: Mapping[str, str], cwd: Path
) -> AsyncIterator[Command]:
    """Started, and gone after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", *arguments,
        cwd=cwd, env=settings(environment), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*arguments: str, environment: Mapping[str, str], cwd: Path) -> tuple[int, str, str]:
    """To its end."""
    async with command(*arguments, environment=environment, cwd=cwd) as running:
        return await running.end()


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """No credentials and no addresses but those given; no colour, and no call to IMDS."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **environment,
    }
