"""The table of attacks: what happened, and what others noticed of it. docs/security.md has it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from infra.local.places import ROOT
from tests.attacks.windows import Comparison

DOCUMENT: Final = ROOT / "docs" / "security.md"
BEGIN: Final = "<!-- attacks: `make attacks WRITE=1` writes from here … -->\n"
END: Final = "<!-- … to here -->\n"
HEAD: Final = (
    "| attack | what happens | in the server: p99 in ms, quiet | attacked | ratio |"
    " at the readers | core | memory, MB | the others |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


class Row(Struct, frozen=True):
    """What one attack came to."""

    attack: str
    what_happens: str
    ended: dict[str, int]
    server: Comparison
    """From when an event was due to when it was on the sockets of all who watch."""
    readers: Comparison
    """To when it was read, by readers who share a core with the attacker."""
    cpu: tuple[float, float]
    """Of a core, what the server used: quiet, attacked."""
    grown_mb: float
    bound_mb: float
    held: bool
    """It ended as documented, memory stayed within its bound, and the others were served."""


def line(row: Row) -> str:
    """A row of the table."""
    ended = ", ".join(f"{count:,} × {how}" for how, count in row.ended.items())
    quiet, attacked = row.cpu
    cells = (
        row.attack,
        f"{row.what_happens}: {ended}",
        str(row.server.quiet),
        str(row.server.attacked),
        str(row.server.ratio),
        str(row.readers.ratio),
        f"{quiet:.0%} → {attacked:.0%}",
        f"{row.grown_mb:+.1f} of {row.bound_mb:.0f}",
        f"{row.server}" if row.held else "NOT HELD",
    )
    return f"| {' | '.join(cells)} |\n"


def report(rows: Sequence[Row], conditions: str) -> str:
    """The whole, for a terminal or the document."""
    return f"{conditions}\n\n{HEAD}{''.join(map(line, rows))}"


def write(text: str, document: Path = DOCUMENT) -> None:
    """Put a report in the place of the last one."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
