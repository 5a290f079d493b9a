"""Logs as JSON lines on standard error: `time`, `level`, `logger`, `message`, `version`, and what
else a line has to say. docs/metrics.md lists those that somebody should act on.
"""

import logging
from typing import Final

from pythonjsonlogger.json import JsonFormatter

from consumer import __version__

# They log each request and its headers below WARNING.
_CHATTY: Final = ("aiobotocore", "aioboto3", "botocore")


def begin(**always: object) -> None:
    """Log from now on, these fields in each line; at INFO, until the settings say otherwise."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"version": __version__, **always},
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(capture=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """The operator's choice."""
    logging.getLogger().setLevel(level)
