"""Processes pinned to a core, and what each of them uses."""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from infra.local.places import ROOT

START_S: Final = 30.0  # to say where it listens
GRACE_S: Final = 10.0
MOST_FILES: Final = 1 << 18
UNCACHED: Final = "PYTHONDONTWRITEBYTECODE"
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl  # resolved here: nothing may be loaded between fork and exec


class Cores(NamedTuple):
    """Where servers run, and where everything that puts load on them."""

    server: int
    load: int

    @classmethod
    def here(cls) -> "Cores":
        """The first and the last that we may use; on a machine of one core they share it."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1])


class Memory(NamedTuple):
    """Bytes of one process, from `smaps_rollup` (proc_pid_smaps(5))."""

    private: int
    resident: int


class Pinned:
    """A child on one core, which never outlives us; its errors go to a file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        core: int,
        output: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._output = output
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**_inherited(), **(environment or {})},
                cwd=ROOT,
                start_new_session=True,
                preexec_fn=_settle(core),  # noqa: PLW1509 # we have no threads
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_up(self) -> bool:
        """Raises RuntimeError where it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"it ended: {self._last_words()}")
        return True

    def say(self, line: str) -> None:
        """A line to its standard input."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(line.encode() + b"\n")
        pipe.flush()

    def hear(self, within_s: float = START_S) -> dict[str, Any]:
        """The next line of JSON from its standard output. Raises RuntimeError where none comes."""
        pipe = self._pipe(self._process.stdout)
        if not select.select([pipe], [], [], within_s)[0]:
            raise RuntimeError(f"nothing heard for {within_s:.0f} s; {self._last_words()}")
        if not (line := pipe.readline()):
            raise RuntimeError(f"it ended: {self._last_words()}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end."""
        if self._process.poll() is None:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def ask_to_stop(self) -> None:
        """SIGTERM alone."""
        self._process.send_signal(signal.SIGTERM)

    def cpu_s(self) -> float:
        """Seconds that its threads have run, to the nanosecond.

        `schedstat` is exact where the clock of `stat` ticks a hundred times per second, one per
        cent of a short round. Threads that ended are left out: those here live on.
        """
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def writes(self) -> int:
        """Calls of `write` and its like so far, `send` aside (proc_pid_io(5))."""
        rows = Path(f"/proc/{self.pid}/io").read_text().splitlines()
        return int(next(row.split()[1] for row in rows if row.startswith("syscw")))

    def memory(self) -> Memory:
        rows = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        kib = {name: int(rest.split()[0]) for name, rest in (row.split(":") for row in rows)}
        return Memory(
            (kib["Private_Clean"] + kib["Private_Dirty"]) * 1024,
            kib["Rss"] * 1024,
        )

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe

    def _last_words(self) -> str:
        self._process.poll()
        end = self._output.read_text(errors="replace")[-1_000:]
        return f"exit code {self._process.returncode}: {end}"


def wait_for(is_so: Callable[[], bool], within_s: float = START_S) -> None:
    """Look until it is so. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


@cache
def most_files() -> int:
    """How many files each of our children may open: more than the hard limit take
    CAP_SYS_RESOURCE, which root need not have (getrlimit(2))."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, MOST_FILES)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, OSError):
        return hard
    return wanted


def _inherited() -> dict[str, str]:
    """Ours, but for what would make each child compile all its modules again."""
    return {name: value for name, value in os.environ.items() if name != UNCACHED}


def _settle(core: int) -> Callable[[], None]:
    """What a child runs before its program."""
    files = most_files()

    def settle() -> None:
        os.sched_setaffinity(0, {core})
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return settle
