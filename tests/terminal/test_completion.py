"""What a shell proposes at Tab."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.terminal.completion import Shell, script
from tests.terminal.commands import ROOT, settings

INSTANCE = "i-0abc12345678def90"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """With a demo in it, and the program on the PATH."""
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "demo.json").write_text(json.dumps({"instances": [INSTANCE]}))
    program = tmp_path / "statuswire"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m consumer "$@"\n')
    program.chmod(0o755)
    return tmp_path


def proposed(line: str, checkout: Path) -> list[str]:
    """What a bash with our script would put in the place of the last word."""
    asking = f"""{script(Shell.bash)}
COMP_LINE={line!r} COMP_POINT={len(line)} COMP_WORDBREAKS=$' \\t\\n:'
_statuswire statuswire
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", asking],  # noqa: S607 # whichever bash there is
        cwd=checkout,
        env=settings({"PATH": f"{checkout}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("statuswire wa", {"watch"}),
        ("statuswire watch ", {"machine:express", f"instance:{INSTANCE}", "*"}),
        ("statuswire watch instance:", {INSTANCE}),  # what follows the colon, for bash
        ("statuswire watch * --until s", {"stopped", "stopping", "shutting-down"}),
        (f"statuswire start {INSTANCE} --action t", {"toggle"}),
        ("statuswire dlq re", {"redrive"}),
    ],
)
def test_bash_is_told_what_may_follow(line: str, some: set[str], checkout: Path) -> None:
    """Commands, options and their values, and the demo's instances."""
    assert some <= set(proposed(line, checkout))


@pytest.mark.parametrize("shell", Shell)
def test_every_shell_has_a_script(shell: Shell) -> None:
    """Which asks this very program."""
    assert "_STATUSWIRE_COMPLETE=complete_bash" in script(shell)


def test_help_loads_no_aws_sdk() -> None:
    """Nor an HTTP client: it comes at once, and so does Tab."""
    code = (
        "import sys\nfrom consumer import cli\n"
        "try: cli.app(['watch', '--help'], prog_name='statuswire')\n"
        "except SystemExit: pass\n"
        "heavy = {'boto3', 'botocore', 'aioboto3', 'aiohttp', 'pydantic_settings', 'websockets'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
