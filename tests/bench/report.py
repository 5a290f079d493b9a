"""The results as Markdown: each goal beside what came out, then what everyone did."""

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
REACHED: Final = {True: "yes", False: "no", None: "not measured"}


def report(
    scenarios: Sequence[Scenario], results: Mapping[str, Results], plots: str | None = None
) -> str:
    """Of the scenarios that have results; `plots` is where their pictures are, if anywhere."""
    played = [scenario for scenario in scenarios if scenario.name in results]
    parts = [_goals(played, results)] if any(scenario.goals for scenario in played) else []
    for scenario in played:
        found = results[scenario.name]
        parts.append(_table(scenario, found))
        if plots is not None and found.samples:
            parts += [_picture(scenario, figure, plots) for figure in scenario.plotted]
    return "\n\n".join(parts)


def write(file: Path, text: str) -> None:
    """Between the marks of the document, or at its end where it has none."""
    old = file.read_text() if file.exists() else ""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    before = before.rstrip() + "\n\n" if before.strip() else ""
    file.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after or chr(10)}")


def _goals(scenarios: Iterable[Scenario], results: Mapping[str, Results]) -> str:
    lines = [
        "| goal | asked | came out (95 % interval) | figure | reached |",
        "|---|---|---|---|---|",
    ]
    lines += [
        _row(judge(goal, results[scenario.name].samples))
        for scenario in scenarios
        for goal in scenario.goals
    ]
    return "\n".join(lines)


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
