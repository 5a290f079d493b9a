"""What a check finds: how bad it is, what it is, and what the operator can do."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

CHECK_S: Final = 10.0  # the longest chain is three checks: half a minute at the worst


class Level(StrEnum):
    """How bad a finding is. `skipped`: nobody looked, and the title says why."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


class Finding(Struct, frozen=True):
    """`id` is the check's, filled in by who runs it; `fix` is a command or a setting to change."""

    id: str
    level: Level
    title: str
    detail: str = ""
    fix: str = ""


def ok(title: str) -> Finding:
    """Nothing to do."""
    return Finding("", Level.OK, title)


def skipped(title: str, fix: str = "") -> Finding:
    """Not looked at; `fix` says how it would be."""
    return Finding("", Level.SKIPPED, title, fix=fix)


def warning(title: str, detail: str, fix: str) -> Finding:
    """The consumer runs, and something will go wrong some day."""
    return Finding("", Level.WARNING, title, detail, fix)


def error(title: str, detail: str, fix: str) -> Finding:
    """The consumer does not run, or loses or shows what it must not."""
    return Finding("", Level.ERROR, title, detail, fix)
