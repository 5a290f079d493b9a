"""The folder that holds everything a run writes, gone when the run is."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from infra.local.places import CACHE

PREFIX = "run-"


@contextmanager
def run_folder(parent: Path = CACHE) -> Iterator[Path]:
    """A new folder, locked while the block runs. Removes what killed runs left behind."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{PREFIX}*"):
        _remove_if_abandoned(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with _lock_file(folder).open("w") as lock:
        _lock(lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _lock_file(folder: Path) -> Path:
    return folder / "lock"


def _lock(file: IO[str]) -> None:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_if_abandoned(folder: Path) -> None:
    """The system frees the lock of a process that died, however it died."""
    try:
        with _lock_file(folder).open() as lock:
            _lock(lock)
    except FileNotFoundError:
        return  # so new that it is not locked yet
    except BlockingIOError:
        return
    shutil.rmtree(folder, ignore_errors=True)
