"""The daemon as a process: environment → settings → run."""

import gc
import logging
import sys
from typing import Final

import uvloop

from consumer import app, logs, settings
from consumer.ports import LogUnusable

# The log's writer and the event loop take turns on one interpreter. After a statement the writer
# waits for its next turn, up to 5 ms by Python's default, which cost 40 % of messages per second.
TURN_S: Final = 0.0005
# Allocations before the collector looks for cycles. What we keep by the thousand has none.
YOUNG: Final = 20_000
EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2


def run() -> int:
    """Run the consumer; returns the process's exit code."""
    logs.begin()
    log = logging.getLogger("consumer")
    tune()
    try:
        chosen = settings.read()
        logs.set_level(chosen.log_level)
        uvloop.run(app.run(chosen))
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
    return 0


def tune() -> None:
    """Have the interpreter suit what runs in it."""
    sys.setswitchinterval(TURN_S)
    gc.set_threshold(YOUNG, 20, 100)
