"""Checks of this machine: settings, Python, SQLite, open files, user."""

import difflib
import os
import platform
import resource
import sqlite3
from typing import Final

from consumer.edges.door import OTHER_FILES
from consumer.operator import reference
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, warning
from consumer.operator.scene import Scene
from consumer.settings import PREFIX
from consumer.terminal.addresses import VARIABLES

OLDEST_PYTHON: Final = (3, 11)
OLDEST_SQLITE: Final = (3, 24, 0)  # the log's ON CONFLICT … DO UPDATE (sqlite.org, "UPSERT")


async def settings(scene: Scene) -> list[Finding]:
    """Every problem that would keep the consumer from starting, and what is misspelled."""
    meanings = {row.variable: row.meaning for row in reference.rows()}
    found = [
        error(
            problem,
            "The consumer refuses to start; what follows was looked at without it.",
            f"{variable}: {meanings[variable]}",
        )
        for problem in scene.problems
        if (variable := problem.split(":")[0]) in meanings  # AWS's own are `aws.region`'s
    ]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in meanings and name not in VARIABLES:
            near = difflib.get_close_matches(name, meanings, 1)
            told = f"Is it {near[0]}? " if near else ""
            fix = f"{told}`statuswire settings` lists them all."
            found.append(warning(f"{name} is no setting", "It is read by nobody.", fix))
    return found or [ok("every setting can be used")]


async def python(scene: Scene) -> list[Finding]:
    """Versions of Python and SQLite."""
    del scene
    found = []
    if tuple(map(int, platform.python_version_tuple()[:2])) < OLDEST_PYTHON:
        found.append(
            error(
                f"Python {platform.python_version()} is too old",
                "Statuswire is written for 3.11 and newer.",
                "make PYTHON=/path/to/python3.11",
            )
        )
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found.append(
            error(
                f"SQLite {sqlite3.sqlite_version} is too old",
                "The log's statements need 3.24.",
                "Use a Python that comes with a newer SQLite.",
            )
        )
    return found or [ok(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")]


async def files(scene: Scene) -> list[Finding]:
    """One per connection. Up to the hard limit, the consumer raises its own."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = scene.settings.limits
    needed = limits.connections + limits.half_open + OTHER_FILES
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        return [
            warning(
                f"{allowed} open files are allowed, {needed} may be needed",
                f"{PREFIX}MAX_CONNECTIONS is {limits.connections}, {PREFIX}MAX_HALF_OPEN "
                f"{limits.half_open}: where files end, so do viewers, and polls of the queues.",
                f"LimitNOFILE={needed} in the unit, or `ulimit -n {needed}`; or a lower "
                f"{PREFIX}MAX_CONNECTIONS.",
            )
        ]
    return [ok("enough open files are allowed")]


async def user(scene: Scene) -> list[Finding]:
    """No privilege is needed."""
    del scene
    if os.geteuid() == 0:
        return [
            warning(
                "this is root",
                "The consumer needs no privilege but to write its log's folder.",
                "Run it as a user of its own.",
            )
        ]
    return [ok("not root")]


CHECKS: Final = (
    Check("settings", settings),
    Check("machine.python", python),
    Check("machine.files", files),
    Check("machine.user", user),
)
