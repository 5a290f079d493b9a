"""`python -m consumer`: environment → settings → run."""

import logging
import sys

import uvloop
from pythonjsonlogger.json import JsonFormatter

from consumer import app, settings
from consumer.edges.sqlite_log import LogUnusable

EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2


def main() -> int:
    """Run the consumer; returns the process's exit code."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger"},
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    log = logging.getLogger("consumer")
    try:
        chosen = settings.read()
    except settings.BadSettings as error:
        for problem in error.problems:
            log.error("bad setting", extra={"problem": problem})  # noqa: TRY400  # not our traceback
        return EXIT_BAD_SETTINGS
    logging.getLogger().setLevel(chosen.log_level)
    for chatty in ("aiobotocore", "botocore", "aioboto3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        uvloop.run(app.run(chosen))
    except (LogUnusable, OSError) as error:
        log.error("cannot run", extra={"reason": str(error)})  # noqa: TRY400  # the operator's to mend
        return EXIT_FAILED
    except Exception:
        log.exception("failed")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
