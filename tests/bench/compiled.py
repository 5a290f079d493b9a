"""The C programs of the benchmarks, compiled when they are first asked for."""

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from infra.local.places import CACHE

SOURCES: Final = Path(__file__).with_name("native")
FLAGS: Final = ("-O2", "-Wall", "-Wextra")


@cache
def compiled(name: str) -> Path:
    """The program made of `native/<name>.c`; one of the same sources is not made again."""
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    program = CACHE / "bench" / "native" / f"{name}-{digest[:16]}"
    if not program.exists():
        compiler = shutil.which("cc")
        assert compiler, "a C compiler is needed: cc"
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".tmp")
        subprocess.run(
            [compiler, *FLAGS, SOURCES / f"{name}.c", "-o", unfinished, "-lm"], check=True
        )
        unfinished.rename(program)
    return program
