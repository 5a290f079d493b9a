"""What is written into the document."""

from pathlib import Path

from tests.bench import report
from tests.bench.goals import OURS, Goal
from tests.bench.scenario import Results, Run, Scenario


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    """People write around it."""
    file = tmp_path / "performance.md"
    file.write_text("# Before\n")
    report.write(file, "old")
    file.write_text(file.read_text() + "After\n")
    report.write(file, "new")
    report.write(file, "new")
    assert file.read_text() == f"# Before\n\n{report.BEGIN}\n\nnew\n\n{report.END}\nAfter\n"


def _nothing(_: Run) -> Results:
    return Results()


def test_what_was_not_played_again_stays(tmp_path: Path) -> None:
    """Its goals' rows, its table and its pictures, in the scenarios' order."""
    one, other = (
        Scenario(
            name,
            f"The {name}",
            _nothing,
            {"us": "µs"},
            (Goal(f"µs of {name}", "us", "at most", 5),),
        )
        for name in ("one", "other")
    )
    file = tmp_path / "document.md"
    first = {each.name: Results({OURS: [{"us": 3.0}]}) for each in (one, other)}
    report.write(file, report.report((one, other), first))
    again = {"other": Results({OURS: [{"us": 9.0}]})}
    before = report.written(file)
    report.write(file, report.report((one, other), again, before=before))
    expected = {"one": first["one"], "other": again["other"]}
    assert report.written(file).strip() == report.report((one, other), expected).strip()
