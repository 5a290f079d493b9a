"""Running the checks: bounded, apart from each other, and told to people and programs."""

import asyncio
import io

import msgspec
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from consumer.operator import report
from consumer.operator.doctor import Check, Report, examine
from consumer.operator.finding import Finding, Level, error, ok, warning
from consumer.operator.scene import Scene


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


async def fine(scene: Scene) -> list[Finding]:
    return [ok("fine")]


async def wrong(scene: Scene) -> list[Finding]:
    return [warning("odd", "why", "mend it"), error("wrong", "why", "mend it")]


async def silent(scene: Scene) -> list[Finding]:
    await asyncio.Event().wait()
    return []


async def broken(scene: Scene) -> list[Finding]:
    raise RuntimeError("secret")


async def denied(scene: Scene) -> list[Finding]:
    raise ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeRule")


async def findings(*checks: Check, check_s: float = 60) -> list[Finding]:
    async with Scene(check_s=check_s) as scene:
        return (await examine(scene, checks)).findings


async def test_a_check_that_keeps_silent_is_given_up() -> None:
    """Within its time, and the others are told."""
    late, well = await findings(Check("a", silent), Check("b", fine), check_s=0.01)
    assert (late.id, late.level) == ("a", Level.ERROR)
    assert late.title == "no answer within 0.01 s"
    assert well == Finding("b", Level.OK, "fine")


async def test_a_check_that_breaks_is_told_without_what_it_held() -> None:
    """An error of ours is a finding, too."""
    (found,) = await findings(Check("a", broken))
    assert found.level is Level.ERROR
    assert "RuntimeError" in found.title
    assert "secret" not in str(found)


async def test_what_one_may_not_look_at_is_skipped() -> None:
    """Permissions of the operator's are not the consumer's."""
    (found,) = await findings(Check("a", denied))
    assert found.level is Level.SKIPPED
    assert "DescribeRule" in found.title


async def test_skipping_goes_on() -> None:
    """What rests on a skipped check is skipped; what rests on a warning is not."""
    told = await findings(
        Check("a", wrong), Check("b", fine, needs=("a",)), Check("c", fine, needs=("b",))
    )
    assert [each.level for each in told[2:]] == [Level.SKIPPED, Level.SKIPPED]
    assert told[3].title == "skipped: it rests on b"


@pytest.mark.parametrize(
    ("level", "codes"),
    [(Level.OK, (0, 0)), (Level.SKIPPED, (0, 0)), (Level.WARNING, (0, 1)), (Level.ERROR, (1, 1))],
)
def test_the_exit_code(level: Level, codes: tuple[int, int]) -> None:
    """By the worst finding, and by whether warnings count; `passed` says the same."""
    found = Report([Finding("settings", level, "it")])
    assert (found.exit_code(strict=False), found.exit_code(strict=True)) == codes
    for strict in (False, True):
        told = msgspec.json.decode(found.as_json(strict=strict))
        assert told["passed"] == (not codes[strict])


def shown(*found: Finding) -> str:
    out = io.StringIO()
    report.show(Report(list(found)), Console(file=out, width=40))
    return out.getvalue()


def test_what_is_well_takes_a_line_and_what_is_not_its_fix() -> None:
    """A fix is never broken into lines: it is there to be copied."""
    fix = "aws sqs set-queue-attributes --queue-url https://example.org/queue"
    told = shown(
        Finding("queue.fifo", Level.OK, "fine"),
        Finding("queue.pair", Level.ERROR, "bad", "why", fix),
    )
    assert told.splitlines() == [
        "Queues",
        "  ok      fine",
        "  error   bad  [queue.pair]",
        "          why",
        f"          fix: {fix}",
        "1 to mend, 0 to look at; docs/doctor.md tells more by the names in brackets.",
    ]


def test_what_comes_from_outside_is_only_text() -> None:
    """Neither markup nor control characters reach the terminal."""
    told = shown(Finding("queue.fifo", Level.OK, "[bold]a\x1b[31m\nb[/bold]"))
    assert "\x1b" not in told
    assert "[bold]a" in told
    assert len(told.splitlines()) == 3
