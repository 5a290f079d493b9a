"""A child process that never outlives us, with its output in a file."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _death_pact() -> Callable[[], None] | None:
    """What a child runs before its program, so that even our own kill -9 takes it along.

    Linux only. Elsewhere a killed run leaves its children to be ended by hand.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # resolved here: nothing may be loaded between fork and exec

    def follow_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return follow_parent


async def is_up(http: aiohttp.ClientSession, url: str) -> bool:
    """Whether the program behind the address answers, and says so with 200."""
    try:
        async with http.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


class Child:
    """One process in a session (and so a process group) of its own.

    A terminal's Ctrl-C reaches only us; we decide the order in which children end.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self._process = process
        self._killed = False
        self.output = output

    @classmethod
    async def start(
        cls,
        command: Sequence[str | Path],
        *,
        output: Path,
        environment: Mapping[str, str],
        cwd: Path,
    ) -> "Child":
        """Start `command`; stdout and stderr are appended to the file `output`."""
        with output.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_death_pact(),
            )
        return cls(process, output)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and after `grace_s` SIGKILL to whatever is left of its group."""
        try:
            if self.exit_code is None:
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.wait()
        finally:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the whole group, workers included; returns when the leader is gone."""
        if self._killed:
            return  # its number may belong to somebody else by now
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()
        self._killed = True

    def tail(self, lines: int = 15) -> str:
        """The last lines of its output, for a person."""
        text = self.output.read_text(errors="replace")
        return "\n".join(text.rstrip().splitlines()[-lines:])
