"""Cores and the time that processes spend on them. Linux only, as all that is measured here."""

import os
from pathlib import Path
from typing import Final

CONTESTANT: Final = 0
"""The core of who is measured, with all its threads."""
LOAD: Final = 1 if (os.cpu_count() or 1) > 1 else 0
"""The core of everything else: load, viewers, and we who measure."""
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, with the threads that it will start. 0: this process."""
    os.sched_setaffinity(pid, {core})


def cpu_us(pid: int) -> float:
    """User and system time of a process with all its threads, dead ones included.

    To a tick of 10 ms: windows are to be long enough for it. proc_pid_stat(5), fields 14 and 15.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S * 1e6
