"""A report for people: what is well in a line each, what is not in full, with its fix."""

from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from consumer.operator.doctor import Report
from consumer.operator.finding import Finding, Level
from consumer.operator.letters import printable

TITLES: Final = {
    "settings": "Settings",
    "machine": "This machine",
    "aws": "AWS",
    "endpoint": "AWS",
    "permission": "Permissions",
    "queue": "Queues",
    "rule": "EventBridge",
    "log": "Log",
    "port": "Viewers",
    "tls": "Viewers",
    "token": "Viewers",
    "rest": "Viewers",
}
_LOOKS: Final = {
    Level.OK: ("ok", "green"),
    Level.SKIPPED: ("skipped", "dim"),
    Level.WARNING: ("warning", "yellow"),
    Level.ERROR: ("error", "bold red"),
}


def show(report: Report, console: Console) -> None:
    """Print it. Colours are Rich's decision: a terminal, and no NO_COLOR."""
    for theme, findings in groupby(report.findings, lambda each: TITLES[each.id.split(".")[0]]):
        _line(console, Text(theme, style="bold"))
        for finding in findings:
            for line in _lines(finding):
                _line(console, line)
    _line(console, _summary(report))


def _line(console: Console, line: Text) -> None:
    # Not broken: a command must be copied whole.
    console.print(line, soft_wrap=True)


def _lines(finding: Finding) -> list[Text]:
    word, style = _LOOKS[finding.level]
    title = printable(finding.title).removeprefix("skipped: ")
    first = Text.assemble("  ", (f"{word:<8}", style), title)
    if finding.level is Level.OK:
        return [first]
    first.append(f"  [{finding.id}]", style="dim")
    lines = [first]
    if finding.detail:
        lines.append(Text(f"          {printable(finding.detail)}"))
    if finding.fix:
        lines.append(Text.assemble("          ", ("fix: ", "bold"), printable(finding.fix)))
    return lines


def _summary(report: Report) -> Text:
    errors, warnings = report.of(Level.ERROR), report.of(Level.WARNING)
    if not errors and not warnings:
        return Text("Nothing is wrong.", style="bold green")
    counts = f"{len(errors)} to mend, {len(warnings)} to look at"
    return Text(f"{counts}; docs/doctor.md tells more by the names in brackets.", style="bold")
