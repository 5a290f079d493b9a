"""A disk that fills up: a small tmpfs where we may mount one, else a bound on the file's size."""

import asyncio
import errno
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from infra.local.daemon import Consumer

SIZE: Final = 4 << 20
SLACK: Final = 60_000  # bytes that are left: some commits, then no more


class Disk:
    """The disk under a consumer's log."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self._folder = folder
        self._filler = folder / "filler"
        self._mounted = mounted

    @classmethod
    @asynccontextmanager
    async def under(cls, folder: Path) -> AsyncIterator["Disk"]:
        """A small disk mounted on a folder, where that is allowed."""
        mounted = not await _run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder)
        try:
            yield cls(folder, mounted=mounted)
        finally:
            if mounted:
                await _run("umount", "--lazy", folder)

    def fill(self, consumer: Consumer) -> None:
        """Leave no room but a little."""
        if not self._mounted:
            sizes = [path.stat().st_size for path in self._folder.iterdir()]
            _bound_files(consumer.pid, max(sizes) + SLACK)
            return
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            filler.truncate(max(0, filler.tell() - SLACK))

    def make_room(self, consumer: Consumer) -> None:
        """Give all the room back."""
        if self._mounted:
            self._filler.unlink()
        elif consumer.exit_code is None:
            _bound_files(consumer.pid, resource.RLIM_INFINITY)


def _bound_files(pid: int, size: int) -> None:
    """SQLite is refused what goes past the bound, and Python ignores the signal for it."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


async def _run(*command: str | Path) -> int:
    try:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    except FileNotFoundError:
        return 1
    return await process.wait()
