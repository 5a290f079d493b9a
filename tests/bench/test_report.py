"""What is written into the document."""

from pathlib import Path

from tests.bench import report


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    """People write around it."""
    file = tmp_path / "performance.md"
    file.write_text("# Before\n")
    report.write(file, "old")
    file.write_text(file.read_text() + "After\n")
    report.write(file, "new")
    report.write(file, "new")
    assert file.read_text() == f"# Before\n\n{report.BEGIN}\n\nnew\n\n{report.END}\nAfter\n"
