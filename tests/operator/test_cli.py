"""The command line, as a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.__main__ import main
from consumer.operator import reference

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "consumer")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={"AWS_CONFIG_FILE": os.devnull, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("run",)])
def test_the_daemon_runs_by_name_or_by_none(arguments: tuple[str, ...]) -> None:
    """Here it refuses its settings, in its own words."""
    done = run(*arguments)
    assert done.returncode == 2
    assert '"bad setting"' in done.stderr


def test_the_daemon_needs_no_command_line() -> None:
    """It comes up without loading what only operators use."""
    code = "import sys, consumer.daemon; print([n for n in ('typer', 'rich') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_an_interrupt_while_loading_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the code that shells have for it."""

    def interrupted(**_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("consumer.cli.app", interrupted)
    monkeypatch.setattr(sys, "argv", ["statuswire", "doctor"])
    assert main() == 130


@pytest.mark.parametrize(
    "arguments", [("doctor", "--bogus"), ("bogus",), ("dlq", "bogus"), ("run", "--workers", "0")]
)
def test_what_is_misspelled_ends_with_2(arguments: tuple[str, ...]) -> None:
    """With a word on how it is used, and no traceback."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "Usage: statuswire" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_are_listed() -> None:
    """For people with every variable whole at any width, and as the document has them."""
    listed = run("settings", COLUMNS="40").stdout
    assert all(row.variable in listed for row in reference.rows())
    assert run("settings", "--markdown").stdout == reference.markdown()
