"""The daemon as a process, or several: environment → settings → run."""

import gc
import logging
import sys
from collections.abc import Callable
from typing import Final

import uvloop

from consumer import app, logs, settings, workers
from consumer.edges import shared_port
from consumer.ports import LogUnusable
from consumer.settings import Settings

# The log's writer and the event loop take turns on one interpreter. After a statement the writer
# waits for its next turn, up to 5 ms by Python's default, which cost 40 % of messages per second.
TURN_S: Final = 0.0005
# Allocations before the collector looks for cycles. What we keep by the thousand has none.
YOUNG: Final = 20_000
EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2


def run(count: int = 1) -> int:
    """Run the consumer, in one process or as so many workers; returns the exit code."""
    logs.begin()
    tune()
    return _told(lambda: _run(count))


def _run(count: int) -> int:
    chosen = settings.read()
    logs.set_level(chosen.log_level)
    if count == 1:
        uvloop.run(app.run(chosen))
        return 0
    workers.check(chosen, count)
    with shared_port.reserved(chosen.host, chosen.port) as port:

        def work(number: int) -> int:
            return _work(workers.own(chosen, number, port), number)

        crew = workers.Workers(work, count, fatal=EXIT_BAD_SETTINGS, failed=EXIT_FAILED)
        return crew.run()


def _work(own: Settings, number: int) -> int:
    """What each worker does."""
    logs.begin(worker=number)
    logs.set_level(own.log_level)

    def consume() -> int:
        uvloop.run(app.run(own, reuse_port=True))
        return 0

    return _told(consume)


def _told(part: Callable[[], int]) -> int:
    """Its exit code, or that of what made it fail, which the log is told."""
    log = logging.getLogger("consumer")
    try:
        return part()
    except settings.BadSettings as error:  # some show only when a file is read
        for problem in error.problems:
            log.error("bad setting", extra={"reason": problem})  # noqa: TRY400  # not our traceback
        return EXIT_BAD_SETTINGS
    except (LogUnusable, OSError) as error:
        log.error("cannot run", extra={"reason": str(error)})  # noqa: TRY400  # the operator's to mend
        return EXIT_FAILED
    except Exception:
        log.exception("failed")
        return EXIT_FAILED


def tune() -> None:
    """Have the interpreter suit what runs in it."""
    sys.setswitchinterval(TURN_S)
    gc.set_threshold(YOUNG, 20, 100)
