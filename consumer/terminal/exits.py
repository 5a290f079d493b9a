"""Exit codes of a viewer's commands. Scripts build on them: docs/terminal.md has a table."""

from enum import IntEnum
from typing import Final

SIGN_IN: Final = "Sign in (`aws sso login`), or name credentials: --profile, AWS_PROFILE."


class Exit(IntEnum):
    """What a command's end means."""

    DONE = 0
    """Reached, started, shown."""
    OTHERWISE = 1
    """What was watched or started ended otherwise, or there is no such thing."""
    TIMED_OUT = 2
    """`--timeout` ran out, or the REST API's own time did; nobody knows yet."""
    REFUSED = 3
    """It could not be done: no address, no right, no answer, or the server said no."""
    MISSPELLED = 64
    """The command line is wrong: EX_USAGE of sysexits.h, since 2 is taken."""
    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT, as shells have it."""
    UNREAD = 141
    """Who read our output has gone: 128 + SIGPIPE."""
    TERMINATED = 143
    """128 + SIGTERM."""


class CannotGoOn(Exception):
    """The command ends with REFUSED. The message says why, and `fix` what to do next."""

    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.fix = fix
