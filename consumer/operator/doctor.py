"""The doctor: runs all checks at once, each within its time, and skips what rests on a failed one.

Read-only. Every check has an entry in docs/doctor.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec
from botocore.exceptions import ClientError

from consumer.edges import aws
from consumer.operator.finding import Finding, Level, error, skipped
from consumer.operator.scene import DENIED, Scene


class Check(NamedTuple):
    """`needs`: ids of checks that must not have failed; what is listed later may need earlier."""

    id: str
    run: Callable[[Scene], Awaitable[list[Finding]]]
    needs: tuple[str, ...] = ()


class Report(NamedTuple):
    """All findings, in the order of the checks."""

    findings: list[Finding]

    def of(self, *levels: Level) -> list[Finding]:
        """Those of some levels."""
        return [finding for finding in self.findings if finding.level in levels]

    def exit_code(self, *, strict: bool) -> int:
        """1 where there are errors; `strict` counts warnings among them."""
        return int(bool(self.of(Level.ERROR, *([Level.WARNING] if strict else []))))

    def as_json(self, *, strict: bool) -> bytes:
        """One object; docs/doctor.md describes it."""
        counts = {level: len(self.of(level)) for level in Level}
        passed = not self.exit_code(strict=strict)
        return msgspec.json.encode(
            {"version": 1, "passed": passed, "counts": counts, "findings": self.findings}
        )


async def examine(scene: Scene, checks: Sequence[Check]) -> Report:
    """Run the checks. Never raises: a check that breaks is a finding."""
    under_way: dict[str, asyncio.Task[list[Finding]]] = {}
    for check in checks:
        needed = {name: under_way[name] for name in check.needs}
        under_way[check.id] = asyncio.create_task(_attend(check, scene, needed))
    found = await asyncio.gather(*under_way.values())
    return Report([finding for each in found for finding in each])


async def _attend(
    check: Check, scene: Scene, needed: dict[str, asyncio.Task[list[Finding]]]
) -> list[Finding]:
    for name, task in needed.items():
        if any(each.level in (Level.ERROR, Level.SKIPPED) for each in await task):
            return _signed(check, [skipped(f"skipped: it rests on {name}")])
    try:
        async with asyncio.timeout(scene.check_s):
            return _signed(check, await check.run(scene))
    except TimeoutError:
        return _signed(check, [_late(scene.check_s)])
    except aws.FAILURES as failure:
        return _signed(check, [_unanswered(failure)])
    except Exception as failure:  # a task's edge: told, and the others go on
        return _signed(check, [_broken(failure)])


def _signed(check: Check, findings: list[Finding]) -> list[Finding]:
    return [msgspec.structs.replace(finding, id=check.id) for finding in findings]


def _late(check_s: float) -> Finding:
    return error(
        f"no answer within {check_s:g} s",
        "Something on the way keeps silent: a firewall that drops, or a VPC endpoint that is not "
        "there.",
        "Mend what `endpoint.…` tells; on a slow link, `statuswire doctor --timeout 60`.",
    )


def _unanswered(failure: BaseException) -> Finding:
    name = aws.name_of(failure)
    if name in DENIED:
        action = getattr(failure, "operation_name", "the call")
        return skipped(
            f"skipped: these credentials may not call {action}",
            "The consumer does not need it. Run this again with credentials that may.",
        )
    if aws.kind_of(failure) == "credentials" and not isinstance(failure, ClientError):
        return skipped("skipped: there are no whole credentials, see aws.credentials")
    return error(
        f"AWS did not answer as it should: {name}",
        "It was asked twice.",
        "Try again; if it stays, look at the AWS Health dashboard.",
    )


def _broken(failure: Exception) -> Finding:
    return error(
        f"the check itself failed: {type(failure).__name__}",
        "That is a fault of this program, not of your set-up.",
        "Report it, with this line.",
    )
