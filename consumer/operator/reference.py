"""Every setting with its default and meaning, as `consumer/settings.py` has them.

`docs/settings.md` is `markdown()`; a test compares the two.
"""

import ast
import inspect
import itertools
from pathlib import Path
from typing import Final, NamedTuple

from consumer import settings
from consumer.settings import PREFIX, Settings

_HEAD: Final = """# Settings

Environment variables, read once at the start; an empty one counts as not set. Those that are
missing, wrong or contradictory are listed all at once, with exit code 2. Region, credentials and
endpoint of AWS are the SDK's own: its usual variables and files count.

`statuswire settings` prints this list, `statuswire doctor` checks one's own.

| variable | default | |
|---|---|---|
"""


class Row(NamedTuple):
    """One setting. `default` is as one would type it; None where the setting is required."""

    variable: str
    default: str | None
    meaning: str


def rows() -> list[Row]:
    """In the order of the source."""
    meanings = _docstrings()
    return [
        Row(
            PREFIX + name.upper(),
            None if field.is_required() else _typed(field.default),
            " ".join(meanings[name].split()),
        )
        for name, field in Settings.model_fields.items()
    ]


def markdown() -> str:
    """The whole of `docs/settings.md`."""
    return _HEAD + "".join(
        f"| `{row.variable}` | {_default(row)} | {row.meaning} |\n" for row in rows()
    )


def _default(row: Row) -> str:
    if row.default is None:
        return "required"
    return f"`{row.default}`" if row.default else "none"


def _typed(default: object) -> str:
    if default is None or default == frozenset():
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _docstrings() -> dict[str, str]:
    """What stands below each field in the source: at run time it is gone."""
    (body,) = (
        node.body
        for node in ast.parse(Path(inspect.getfile(settings)).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    )
    return {
        field.target.id: below.value.value
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
