"""The results as Markdown: each goal beside what came out, then what everyone did."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from tests.bench.goals import Verdict, judge
from tests.bench.results import picture
from tests.bench.scenario import Results, Scenario
from tests.bench.stand import Sample

BEGIN: Final = "<!-- from here: written by `make bench WRITE=1` -->"
END: Final = "<!-- to here -->"
SIDES: Final = {"at least": "≥", "at most": "≤"}
_GOALS: Final = (
    "| goal | asked | came out (95 % interval) | figure | reached |",
    "|---|---|---|---|---|",
)
REACHED: Final = {True: "yes", False: "no", None: "not measured"}


def report(
    scenarios: Sequence[Scenario],
    results: Mapping[str, Results],
    plots: str | None = None,
    before: str = "",
) -> str:
    """Of the scenarios that have results; `plots` is where their pictures are, if anywhere. What
    was reported `before` of others stays.
    """
    goals = [row for each in scenarios for row in _goals(each, results.get(each.name), before)]
    parts = ["\n".join([*_GOALS, *goals])] if goals else []
    for scenario in scenarios:
        if (found := results.get(scenario.name)) is None:
            parts += _kept(scenario, before)
            continue
        parts.append(_table(scenario, found))
        if plots is not None and found.samples:
            parts += [_picture(scenario, figure, plots) for figure in scenario.plotted]
    return "\n\n".join(parts)


def written(file: Path) -> str:
    """What stands between the marks of a document."""
    _, _, rest = file.read_text().partition(BEGIN)
    return rest.partition(END)[0]


def write(file: Path, text: str) -> None:
    """Between the marks of the document, or at its end where it has none."""
    old = file.read_text() if file.exists() else ""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    before = before.rstrip() + "\n\n" if before.strip() else ""
    file.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after or chr(10)}")


def _goals(scenario: Scenario, results: Results | None, before: str) -> Iterable[str]:
    """Its rows: of what was played now, or else as they were."""
    for goal in scenario.goals:
        if results is not None:
            yield _row(judge(goal, results.samples))
        else:
            yield from re.findall(rf"^\| {re.escape(goal.text)} [|(].*$", before, re.MULTILINE)


def _kept(scenario: Scenario, before: str) -> Iterable[str]:
    """Its table and pictures as they were."""
    for section in re.split(r"^(?=\*\*)", before, flags=re.MULTILINE):
        if section.partition("\n")[0].endswith(f"(`--only {scenario.name}`)"):
            yield section.strip()


def _row(verdict: Verdict) -> str:
    goal, ratio = verdict.goal, verdict.ratio
    unit = "" if goal.theirs is None else "×"
    asked = f"{SIDES[goal.side]} {_short(goal.bound)}{unit}"
    came_out = "–"
    if ratio is not None:
        low, high = _short(ratio.low), _short(ratio.high)
        came_out = f"{_short(ratio.median)}{unit} ({low}–{high})"
    against = f" ({verdict.against})" if goal.theirs != verdict.against and verdict.against else ""
    figure = "–" if verdict.figure is None else _short(verdict.figure)
    reached = REACHED[verdict.is_reached]
    return f"| {goal.text}{against} | {asked} | {came_out} | {figure} | {reached} |"


def _table(scenario: Scenario, results: Results) -> str:
    lines = [
        f"**{scenario.title}** (`--only {scenario.name}`)",
        "",
        "| | " + " | ".join(scenario.columns.values()) + " | rounds |",
        "|---" * (len(scenario.columns) + 2) + "|",
    ]
    for name, samples in results.samples.items():
        figures = " | ".join(_median(samples, figure) for figure in scenario.columns)
        lines.append(f"| {name} | {figures} | {len(samples)} |")
    lines += [f"| {name} | {why} |" for name, why in results.lacks.items()]
    lost = sum(sample.get("lost", 0) for sample in chain(*results.samples.values()))
    if lost:
        lines += ["", f"{lost:,.0f} deliveries were lost."]
    return "\n".join(lines)


def _picture(scenario: Scenario, figure: str, plots: str) -> str:
    return f"![{scenario.columns[figure]}]({plots}/{picture(scenario, figure)})"


def _median(samples: Sequence[Sample], figure: str) -> str:
    found = [sample[figure] for sample in samples if figure in sample]
    return _short(statistics.median(found)) if found else "–"


def _short(value: float) -> str:
    """Three digits that matter."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
