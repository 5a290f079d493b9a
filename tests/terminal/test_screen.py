"""The live table in a terminal: drawn, and gone without a trace of its drawing."""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from consumer.core import events
from tests.edges.conftest import Service
from tests.terminal.commands import WITHIN_S, settings
from tests.terminal.telling import INSTANCE, instance, run

OTHER_SCREEN, FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
NO_CURSOR, CURSOR = "\x1b[?25l", "\x1b[?25h"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What the program wrote to it, and what one types."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.written = ""
        self._master = master
        self._news = asyncio.Event()
        self._has_ended = False
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # its other end is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            self._has_ended = True
        self.written += data.decode(errors="replace")
        self._news.set()

    async def when(self, shows: Callable[[str], bool]) -> str:
        """What was written, without escapes, once it is as wanted."""
        async with asyncio.timeout(WITHIN_S):
            while not shows(plain := ESCAPES.sub("", self.written)):
                self._news.clear()
                await self._news.wait()
        return plain

    async def until(self, text: str) -> str:
        """What was written, without escapes, once the text stands in it."""
        return await self.when(lambda plain: text in plain)

    async def end(self) -> int | None:
        """The program's exit code; all that it wrote has been read."""
        async with asyncio.timeout(WITHIN_S):
            while not self._has_ended:
                self._news.clear()
                await self._news.wait()
            await self.process.wait()
        return self.process.returncode

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, columns: int, lines: int) -> None:
        _size(self._master, columns, lines)


def _size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@asynccontextmanager
async def terminal(
    *arguments: str, environment: Mapping[str, str], cwd: Path
) -> AsyncIterator[Terminal]:
    """`statuswire …` in a terminal of 100 × 20."""
    master, slave = pty.openpty()
    _size(master, 100, 20)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", *arguments,
        cwd=cwd, env=settings({"TERM": "xterm-256color", **environment}),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is its signal
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


async def _append(service: Service, *told: dict[str, object]) -> None:
    await service.log.append([events.decode(json.dumps(each)) for each in told])


async def test_the_table_lives_and_leaves_its_last_state_behind(
    service: Service, tmp_path: Path
) -> None:
    """On a screen of its own; Ctrl-C puts the terminal back as it was, with 130."""
    await _append(service, instance("stopped"), run("CHECKING"))
    place = {"STATUSWIRE_URL": service.url}
    async with terminal("watch", environment=place, cwd=tmp_path) as screen:
        await screen.until("CHECKING")
        await _append(service, instance("pending", second=2))
        await screen.until("pending")
        screen.type(b"\x03")
        assert await screen.end() == 130
    before, _, after = screen.written.partition(FIRST_SCREEN)
    assert before.count(OTHER_SCREEN) == 1
    assert before.count(NO_CURSOR) == 1
    assert CURSOR in before or CURSOR in after
    left = [line.rstrip() for line in ESCAPES.sub("", after).split("\r\n")]
    assert re.fullmatch(
        rf"(\^C)?○ as it was at [0-9:]{{8}}  \*  \(127\.0\.0\.1:{service.port}\)", left[0]
    )
    assert left[2].split()[:2] == [INSTANCE, "pending"]
    assert "Traceback" not in screen.written


async def test_a_table_follows_its_terminals_size(service: Service, tmp_path: Path) -> None:
    """Without waiting for an event."""
    await _append(service, run("CHECKING"), run("STARTING", seq=2))
    place = {"STATUSWIRE_URL": service.url}
    async with terminal("watch", environment=place, cwd=tmp_path) as screen:
        await screen.until("STEPS")
        screen.resize(60, 10)

        def is_narrow(plain: str) -> bool:
            last = plain.rpartition("● live")[2]
            return "nightly-7" in last and "STEPS" not in last

        await screen.when(is_narrow)


async def test_what_was_waited_for_is_said_at_the_end(service: Service, tmp_path: Path) -> None:
    """Below the table, on the first screen."""
    await _append(service, instance("stopped"))
    place = {"STATUSWIRE_URL": service.url}
    arguments = ("watch", f"instance:{INSTANCE}", "--until", "running")
    async with terminal(*arguments, environment=place, cwd=tmp_path) as screen:
        await screen.until("stopped")
        await _append(service, instance("running", second=2))
        assert await screen.end() == 0
    assert f"{INSTANCE}: running" in ESCAPES.sub("", screen.written.partition(FIRST_SCREEN)[2])


async def test_a_stale_table_says_so(service: Service, tmp_path: Path) -> None:
    """Where the server falls silent, the table does not pretend to live."""
    await _append(service, instance("running"))
    place = {"STATUSWIRE_URL": service.url}
    async with terminal("watch", environment=place, cwd=tmp_path) as screen:
        await screen.until("running")
        for connection in list(service.server.connections):
            connection._transport.pause_reading()
        service.server.heartbeat_s = 1e6
        await screen.until("What you see may be old")


async def test_colours_are_left_out_where_they_are_not_wanted(
    service: Service, tmp_path: Path
) -> None:
    """NO_COLOR; a terminal that cannot draw gets lines."""
    await _append(service, instance("running"))
    place = {"STATUSWIRE_URL": service.url, "NO_COLOR": "1"}
    async with terminal("watch", environment=place, cwd=tmp_path) as screen:
        await screen.until("running")
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen.written)
    place = {"STATUSWIRE_URL": service.url, "TERM": "dumb"}
    async with terminal("watch", environment=place, cwd=tmp_path) as screen:
        await screen.until("running")
        assert "\x1b" not in screen.written
