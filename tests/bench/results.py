"""What was measured, kept per scenario: a run of one leaves the others' as they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from infra.local.places import CACHE
from tests.bench.scenario import Results, Scenario

FOLDER: Final = CACHE / "bench"


def keep(scenario: Scenario, results: Results, folder: Path = FOLDER) -> None:
    """Replaces what an earlier run measured."""
    folder.mkdir(parents=True, exist_ok=True)
    _file(folder, scenario).write_text(json.dumps(as_json(scenario, results), indent=1) + "\n")


def kept(scenarios: Sequence[Scenario], folder: Path = FOLDER) -> dict[str, Results]:
    """By the scenario's name; those that were never played are missing."""
    found = {}
    for scenario in scenarios:
        if (file := _file(folder, scenario)).exists():
            told = json.loads(file.read_text())
            found[scenario.name] = Results(told["samples"], told["lacks"])
    return found


def as_json(scenario: Scenario, results: Results) -> dict[str, Any]:
    """For programs, the plots among them."""
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "columns": dict(scenario.columns),
        "plotted": {figure: picture(scenario, figure) for figure in scenario.plotted},
        "samples": results.samples,
        "lacks": results.lacks,
    }


def picture(scenario: Scenario, figure: str) -> str:
    """The name of a plot's file."""
    return f"{scenario.name}-{figure.replace('_', '-')}.svg"


def _file(folder: Path, scenario: Scenario) -> Path:
    return folder / f"{scenario.name}.json"
