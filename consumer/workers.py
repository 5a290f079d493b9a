"""Several workers on one machine: processes that share a port and a log, and the parent they have.

The parent does nothing else: it starts them, passes on that they shall end, and replaces those
that die. It has one thread and no event loop, and hears signals when it waits for them, so that
none comes between a fork and the note of it.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from consumer.settings import PREFIX, BadSettings, Settings

log = logging.getLogger(__name__)

SOON_S: Final = 10.0  # a worker that ends sooner may do so again
MAX_PAUSE_S: Final = 30.0
_HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
# Its handlers come up with its event loop; before that it simply ends, and has nothing to drain.
_ENDS_AS_TOLD: Final = (0, -signal.SIGTERM, -signal.SIGINT)
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def check(settings: Settings, count: int) -> None:
    """Raises `BadSettings` where so many workers cannot share them."""
    problems = []
    if sys.platform != "linux":
        problems.append("--workers: needs Linux, which spreads connections over a shared port")
    if settings.log_path is not None:
        problems.append(f"{PREFIX}LOG: must be Redis for --workers: an SQLite file has one process")
    taken = range(settings.metrics_port, settings.metrics_port + count)
    if taken.start and (settings.port in taken or taken.stop > 65_536):
        problems.append(
            f"{PREFIX}METRICS_PORT: with --workers each has the next port: they must be ports, and"
            f" not that of {PREFIX}PORT"
        )
    if problems:
        raise BadSettings(problems)


def own(settings: Settings, number: int, port: int) -> Settings:
    """What the worker of a number gets (they begin with 0); `port` is the one they share."""
    metrics_port = settings.metrics_port and settings.metrics_port + number
    return settings.model_copy(update={"port": port, "metrics_port": metrics_port})


class Worker(NamedTuple):
    """One that runs."""

    number: int
    started_s: float


class Workers:
    """A number of processes that each do the same work, as long as they shall."""

    def __init__(self, work: Callable[[int], int], count: int, *, fatal: int, failed: int) -> None:
        """`work` is called in each, with its number, and returns its exit code. `fatal` is the one
        by which all end, with it; `failed` is ours when one does not end as it was told to.
        """
        self._work = work
        self._fatal = fatal
        self._failed = failed
        self._running: dict[int, Worker] = {}
        self._due_s = dict.fromkeys(range(count), 0.0)
        self._soon: Counter[int] = Counter()  # endings in a row that came soon, by number
        self._is_ending = False
        self._code = 0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, and until all have drained; returns the exit code."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may have ignored it
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        while self._running or self._due_s:
            self._start_those_due()
            self._hear()
        return self._code

    def _start_those_due(self) -> None:
        now_s = time.monotonic()
        for number in [each for each, due_s in self._due_s.items() if due_s <= now_s]:
            del self._due_s[number]
            parent = os.getpid()
            if (pid := os.fork()) == 0:
                self._live(number, parent)
            self._running[pid] = Worker(number, now_s)
            log.info("worker started", extra={"worker": number, "pid": pid})

    def _live(self, number: int, parent: int) -> NoReturn:
        """In the child: do the work, and never go back to what the parent was about to do."""
        code = self._failed
        try:
            _follow(parent)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a terminal's Ctrl-C comes here, too
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            code = self._work(number)
        finally:
            os._exit(code)

    def _hear(self) -> None:
        """Wait for a signal, or for when a worker is due."""
        if self._due_s:
            wait_s = max(0.0, min(self._due_s.values()) - time.monotonic())
            heard = signal.sigtimedwait(_HEARD, wait_s)
        else:
            heard = signal.sigwaitinfo(_HEARD)
        if heard is None:
            return
        if heard.si_signo != signal.SIGCHLD:
            self._end(0)
            return
        while self._running:  # one signal may stand for several
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self._running:  # as a container's first process, we get others' orphans
                self._note_end(pid, os.waitstatus_to_exitcode(status))

    def _note_end(self, pid: int, code: int) -> None:
        worker = self._running.pop(pid)
        about = {"worker": worker.number, "pid": pid, "code": code}
        if self._is_ending:
            log.info("worker ended", extra=about)
            if code not in _ENDS_AS_TOLD:
                self._code = self._code or self._failed
        elif code == self._fatal:
            log.error("worker ended; so do all", extra=about)
            self._end(code)
        else:
            pause_s = self._pause_s(worker)
            self._due_s[worker.number] = time.monotonic() + pause_s
            log.warning("worker ended; another follows", extra={**about, "pause_s": pause_s})

    def _pause_s(self, worker: Worker) -> float:
        """None for the first, then 1, 2, 4 … seconds for those that do not live long."""
        if time.monotonic() - worker.started_s >= SOON_S:
            del self._soon[worker.number]
            return 0.0
        self._soon[worker.number] += 1
        soon = self._soon[worker.number]
        return min(MAX_PAUSE_S, 2.0 ** (soon - 2)) if soon > 1 else 0.0

    def _end(self, code: int) -> None:
        """Have all drain; told again, they are told again."""
        self._is_ending = True
        self._code = self._code or code
        self._due_s.clear()
        for pid in self._running:  # not waited for yet, so the number is nobody else's
            os.kill(pid, signal.SIGTERM)


def _follow(parent: int) -> None:
    """Be told to drain when the parent ends, however it does: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was quicker
        os.kill(os.getpid(), signal.SIGTERM)
