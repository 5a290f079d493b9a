"""A child ends when it is told, and takes all that it started along."""

import asyncio
import os
import sys
from pathlib import Path

from infra.local.child import Child


async def start(folder: Path, program: str) -> Child:
    output = folder / "output"
    child = await Child.start(
        [sys.executable, "-c", program], output=output, environment=os.environ, cwd=folder
    )
    while "up" not in output.read_text():
        assert child.exit_code is None, child.tail()
        await asyncio.sleep(0.01)
    return child


async def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    """SIGKILL follows where SIGTERM is ignored."""
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    child = await start(tmp_path, stubborn)
    await child.stop(grace_s=0.1)
    assert child.exit_code == -9


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    """Its worker holds a pipe open: the pipe's end is the worker's end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    parent = (
        "import subprocess, time; subprocess.Popen(['sleep', '60'], stdout=open('pipe', 'w'));"
        "print('up', flush=True); time.sleep(60)"
    )
    child = await start(tmp_path, parent)
    await child.stop(grace_s=5)
    os.set_blocking(reader, True)
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(os.read, reader, 1) == b""
    os.close(reader)


async def test_the_tail_is_the_end_of_the_output(tmp_path: Path) -> None:
    """For a person who has to find out why it died."""
    child = await start(tmp_path, "print('one'); print('two'); print('up')")
    await child.wait()
    assert child.tail(2) == "two\nup"
