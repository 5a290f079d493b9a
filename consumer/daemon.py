"""The daemon as a process: environment → settings → run."""

import logging

import uvloop

from consumer import app, logs, settings
from consumer.edges.sqlite_log import LogUnusable

EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2


def run() -> int:
    """Run the consumer; returns the process's exit code."""
    logs.begin()
    log = logging.getLogger("consumer")
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
