"""The C programs of the benchmarks, compiled where they are needed."""

import subprocess
from pathlib import Path
from typing import Final

NATIVE: Final = Path(__file__).with_name("native")


def compiled(name: str, folder: Path) -> Path:
    """The program `native/<name>.c`, compiled into `folder`.

    Raises `FileNotFoundError` where there is no C compiler.
    """
    program = folder / name
    command: list[str | Path] = ["cc", "-O2", "-o", program, NATIVE / f"{name}.c", "-lm"]
    subprocess.run(command, check=True)
    return program
