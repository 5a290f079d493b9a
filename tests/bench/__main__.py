"""`python -m tests.bench`: the product beside its peers, and which goals that shows as reached.

Contestants take turns in short rounds, each with its server on one core and its viewers on
another. Results are kept in `.local/bench`; `--write` puts all that is there into `docs`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from infra.local.folder import run_folder
from infra.local.places import ROOT
from tests.bench import report, results
from tests.bench.contestants import PYTHON
from tests.bench.scenario import FULL, QUICK, Results, Run, Scale, Scenario
from tests.bench.scenarios.everything import SCENARIOS

DOCUMENT: Final = ROOT / "docs" / "performance.md"
PLOTS: Final = ROOT / "docs" / "performance"


def play(scenarios: Sequence[Scenario], scale: Scale, folder: Path) -> dict[str, Results]:
    """Each scenario's results; what a full-scale one measured is kept as soon as it is there."""
    found = {}
    for scenario in scenarios:
        its_folder = folder / scenario.name
        its_folder.mkdir()
        found[scenario.name] = scenario.play(Run(its_folder, scale))
        if scale.part == FULL.part:
            results.keep(scenario, found[scenario.name])
    return found


def write_documents() -> None:
    """The table and the plots, of all that was kept; what was not stays as it is."""
    found = results.kept(SCENARIOS)
    before = report.written(DOCUMENT)
    report.write(DOCUMENT, report.report(SCENARIOS, found, PLOTS.name, before))
    PLOTS.mkdir(exist_ok=True)
    # Drawing takes what the product does not: it has the peers' environment.
    subprocess.run([PYTHON, "-m", "tests.bench.plots", results.FOLDER, PLOTS], cwd=ROOT, check=True)


def main() -> int:
    """Returns 0 whatever came out: figures are for people to judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", help=f"of {', '.join(names)}; several with commas")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one play")
    parser.add_argument("--quick", action="store_true", help="a moment of everything, kept nowhere")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="into docs, with what was kept before")
    asked = parser.parse_args()
    only = asked.only.split(",") if asked.only else names
    if unknown := set(only) - set(names):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    scale = QUICK if asked.quick else FULL
    scale = replace(
        scale, rounds=asked.rounds or scale.rounds, seconds=asked.seconds or scale.seconds
    )
    chosen = [scenario for scenario in SCENARIOS if scenario.name in only]
    with run_folder() as folder:
        found = play(chosen, scale, folder)
    if asked.json:
        told = [results.as_json(scenario, found[scenario.name]) for scenario in chosen]
        print(json.dumps(told, indent=1))
    else:
        print(report.report(chosen, found))
    if asked.write:
        write_documents()
    return 0


if __name__ == "__main__":
    sys.exit(main())
