"""The part of JSONPath that mapping templates use: `$`, `.name`, `['name']`, `[0]`. Pure."""

import re
from typing import Any

STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]|\[\"([^\"]*)\"\]|\[(\d+)\]")


class PathError(ValueError):
    """Not a path that this module knows; the template's author must act."""


def look_up(document: Any, path: str) -> Any:
    """The value at `path`, or None where the document has nothing there."""
    if not path.startswith("$"):
        path = f"$.{path}"
    value, place = document, 1
    while place < len(path):
        step = STEP.match(path, place)
        if step is None:
            raise PathError(f"The local run does not know the JSONPath {path}")
        dotted, quoted, double_quoted, index = step.groups()
        if index is not None:
            value = _item(value, int(index))
        else:
            name = next(n for n in (dotted, quoted, double_quoted) if n is not None)
            value = value.get(name) if isinstance(value, dict) else None
        place = step.end()
    return value


def _item(value: Any, index: int) -> Any:
    return value[index] if isinstance(value, list) and index < len(value) else None
