"""docs/terminal.md: every command, option, exit code, variable and line has its place there."""

import re
from typing import Any, Final

import pytest
import typer

from consumer import cli
from consumer.terminal import lines
from consumer.terminal.addresses import VARIABLES
from consumer.terminal.commands import app
from consumer.terminal.exits import Exit
from consumer.terminal.options import PANEL
from tests.terminal.commands import ROOT

DOCUMENT: Final = (ROOT / "docs" / "terminal.md").read_text()
GROUP: Final[Any] = typer.main.get_command(cli.app)
COMMANDS: Final[dict[str, Any]] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def section(title: str, level: int = 2) -> str:
    marks = "#" * level
    found = re.search(
        rf"^{marks} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", DOCUMENT, re.M | re.S
    )
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[str]:
    """What stands in backticks in the first column of a section's tables."""
    return [
        each
        for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for each in re.findall(r"`([^`]+)`", cell)
    ]


def test_every_command_has_a_section() -> None:
    """And no section is about none; the command line has them all."""
    assert re.findall(r"^## `statuswire (\S+)`", DOCUMENT, re.MULTILINE) == list(COMMANDS)
    assert COMMANDS.keys() <= GROUP.commands.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_row(name: str) -> None:
    """Those that say where are told of once, for all commands."""
    options = [each for each in COMMANDS[name].params if each.param_type_name == "option"]
    own = [each for each in options if each.rich_help_panel != PANEL]
    told = rows(section(f"`statuswire {name}`").partition("###")[0])
    assert sorted(told) == sorted(opt for each in own for opt in each.opts + each.secondary_opts)
    where = section("Where")
    assert all(f"`{opt}`" in where for each in options if each not in own for opt in each.opts)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_in_the_usage(name: str) -> None:
    """As `--help` has it."""
    command = COMMANDS[name]
    context = typer.Context(command, info_name=name)
    words = [
        piece.strip("{}")
        for each in command.get_params(context)
        if each.param_type_name == "argument"
        for piece in each.get_usage_pieces(context)
    ]
    usage = " ".join(["statuswire", name, *words])
    assert f"```\n{usage}\n```" in section(f"`statuswire {name}`")


def test_every_exit_code_has_a_row() -> None:
    """In the order of the code."""
    assert [int(each) for each in rows(section("Exit codes"))] == [int(each) for each in Exit]


def test_every_variable_has_a_row() -> None:
    """With its meaning."""
    for name, meaning in VARIABLES.items():
        assert f"| `{name}` | {meaning} |" in section("Where")
    assert rows(section("Where")) == list(VARIABLES)


def test_every_kind_of_line_has_a_row() -> None:
    """Of `--json`."""
    source = (ROOT / "consumer" / "terminal" / "lines.py").read_text()
    assert set(rows(section("`--json`", 3))) == set(re.findall(r'"op": "(\w+)"', source))
    assert lines.ending(Exit.DONE, None).startswith(b'{"op":"until"')
