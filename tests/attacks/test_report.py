"""The table of attacks in docs/security.md."""

from pathlib import Path
from typing import Final

from tests.attacks.attacks import ATTACKS
from tests.attacks.report import BEGIN, DOCUMENT, END, Row, report, write
from tests.attacks.windows import compare

ROW: Final = Row(
    attack="flood",
    what_happens="closed",
    ended={"4429": 1_234, "dropped": 5},
    server=compare([4.0, 6.0, 4.0], [5.0, 5.0]),
    readers=compare([8.0, 8.0, 8.0], [12.0, 12.0]),
    cpu=(0.1, 0.5),
    grown_mb=1.25,
    bound_mb=60,
    held=True,
)


def test_a_row_says_how_connections_ended_and_what_others_noticed() -> None:
    """In the server, at the readers, and in memory."""
    row = report([ROW], "a quiet machine").splitlines()[-1]
    for cell in (
        "closed: 1,234 × 4429, 5 × dropped",
        "4.0 (4.0–6.0)",
        "1.50×",
        "10% → 50%",
        "+1.2 of 60",
        "within the quiet windows' spread",
    ):
        assert cell in row


def test_a_report_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    """What stands around it stays, and writing it again changes nothing."""
    document = tmp_path / "security.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")
    write(report([ROW], "quiet"), document)
    once = document.read_text()
    write(report([ROW], "quiet"), document)
    assert document.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "old" not in once


def test_the_document_has_every_attack() -> None:
    """By the name and the outcome that the code has; the figures are a run's."""
    table = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) == len(ATTACKS)
    for row, attack in zip(rows, ATTACKS, strict=True):
        assert row.startswith(f"| {attack.name} | {attack.what_happens}: ")
