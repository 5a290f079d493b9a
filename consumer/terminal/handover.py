"""The one-time key on its way to the browser: in a file that only its owner can read.

Not in an address, which browsers keep and other programs see, nor in a command line, which every
user of the machine can read. The file posts a form; it is gone when the key has been used.
"""

import html
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>Statuswire</title>
<form method="post" action="{action}">
<input type="hidden" name="key" value="{key}">
<p>Opening the dashboard … <button>Open it</button></p>
</form>
<script>document.forms[0].submit()</script>
</html>
"""


@contextmanager
def handover(action: str, key: str) -> Iterator[Path]:
    """The file, in a folder of its own that nobody else can look into; gone after the block."""
    with tempfile.TemporaryDirectory(prefix="statuswire-") as folder:  # 0700
        path = Path(folder) / "dashboard.html"
        page = _PAGE.format(action=html.escape(action), key=html.escape(key))
        with open(path, "x", opener=_private) as file:
            file.write(page)
        yield path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
