"""`python -m tests.bench.plots <results> <folder>`: a picture of each scenario's main figure.

It runs in the peers' environment, which has matplotlib, and so knows nothing but the results' JSON.
Bars are medians of the rounds, lines their 95 % intervals.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib

from tests.bench.rounds import interval

OURS: Final = "Statuswire"
COLOURS: Final = {True: "#0969da", False: "#afb8c1"}
WIDTH: Final = 8.0  # inches
ROW: Final = 0.42
EDGES: Final = 1.1

# The same results give the same file, byte for byte: no date, no random names, text as text.
SETTINGS: Final = {"svg.hashsalt": "statuswire", "svg.fonttype": "none", "font.size": 10}


def draw(told: dict[str, Any], figure: str, file: Path) -> None:
    """One bar per contestant, ours in colour."""
    from matplotlib import pyplot  # noqa: PLC0415 # once the backend is chosen

    samples = {
        name: [sample[figure] for sample in found if figure in sample]
        for name, found in told["samples"].items()
    }
    names = [name for name in samples if samples[name]]
    medians = [statistics.median(samples[name]) for name in names]
    ends = [interval(samples[name]) for name in names]
    reach = [
        [median - low for median, (low, _) in zip(medians, ends, strict=True)],
        [high - median for median, (_, high) in zip(medians, ends, strict=True)],
    ]
    shape, axes = pyplot.subplots(figsize=(WIDTH, EDGES + ROW * len(names)), layout="constrained")
    colours = [COLOURS[name.startswith(OURS)] for name in names]
    axes.barh(names, medians, xerr=reach, color=colours, ecolor="#57606a", capsize=3)
    for place, median in enumerate(medians):
        axes.annotate(
            f" {median:,.0f}" if median >= 1_000 else f" {median:.3g}",
            (ends[place][1], place),
            va="center",
        )
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(told["columns"][figure])
    axes.set_title(told["title"], loc="left", fontsize=11)
    pyplot.savefig(file, metadata={"Date": None})
    pyplot.close(shape)


def main() -> None:
    results, folder = Path(sys.argv[1]), Path(sys.argv[2])
    matplotlib.use("svg")
    matplotlib.rcParams.update(SETTINGS)
    for file in sorted(results.glob("*.json")):
        told = json.loads(file.read_text())
        for figure, name in told["plotted"].items():
            if any(told["samples"].values()):
                draw(told, figure, folder / name)


if __name__ == "__main__":
    main()
