"""The catalogue of breaks: one thing made wrong in each, and which tests must turn red by it.

The breaks are data (`breaks.toml`), so that a promise that is new costs a few lines.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from infra.local.places import ROOT

BREAKS: Final = Path(__file__).with_name("breaks.toml")
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- breaks: `make breaks WRITE=1` writes from here … -->\n"
END: Final = "<!-- … to here -->\n"


class Break(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing made wrong."""

    promise: str
    name: str
    file: str
    text: str
    """Occurs in the file exactly once."""
    becomes: str
    red: Annotated[list[str], Meta(min_length=1)]
    """Tests by their pytest node ids; one without its parameters is red when it is by any."""
    soak: str | None = None
    """The kind of `make soak` that was seen to notice it too."""

    def broken(self, source: str) -> str:
        """The file's text with the break in it. Raises `ValueError` where it does not apply."""
        if (times := source.count(self.text)) != 1:
            raise ValueError(f"{self.name}: its text occurs {times} times in {self.file}")
        return source.replace(self.text, self.becomes)


class Catalogue(Struct, forbid_unknown_fields=True):
    """What `breaks.toml` holds."""

    breaks: list[Break]


def read(path: Path = BREAKS) -> list[Break]:
    """All breaks, in the order in which they stand."""
    return msgspec.toml.decode(path.read_bytes(), type=Catalogue).breaks


def table(breaks: list[Break]) -> str:
    """What docs/reliability.md says of them."""
    rows = ["| promise | broken | turns red | in the soak |\n|---|---|---|---|\n"]
    for one in breaks:
        red = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in one.red)
        rows.append(f"| {one.promise} | {one.name} | {red} | {one.soak or ''} |\n")
    return "".join(rows)


def write(breaks: list[Break], document: Path = DOCUMENT) -> None:
    """Put their table in the place of the last one."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{table(breaks)}\n{END}{after}")
