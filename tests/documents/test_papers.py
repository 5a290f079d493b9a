"""Every paper: links lead somewhere, snippets are what they say, names are of things that exist."""

import ast
import json
import re
import shlex
import subprocess
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import typer
import yaml

from consumer import cli
from consumer.operator import dlq
from infra import parameters
from infra.local.places import ROOT

PAPERS: Final = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
FENCE: Final = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
PLACEHOLDER: Final = re.compile(r"<[^<>\n]+>")


class Snippet(NamedTuple):
    paper: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.paper.name}: {self.text.splitlines()[0][:40]}"


def _snippets(*languages: str) -> list[Snippet]:
    return [
        Snippet(paper, language, text)
        for paper in PAPERS
        for _, language, text in FENCE.findall(paper.read_text())
        if language in languages
    ]


def _identities(snippets: list[Snippet]) -> dict[str, Any]:
    return {"argvalues": snippets, "ids": [str(each) for each in snippets]}


def test_snippets_are_in_languages_that_are_looked_at() -> None:
    """Here, or nginx's where it is started. What a program shows, or is sketched, has none."""
    found = {language for p in PAPERS for _, language, _ in FENCE.findall(p.read_text())}
    assert found <= {"", "sh", "json", "yaml", "python", "js", "nginx", "mermaid"}


@pytest.mark.parametrize("snippet", **_identities(_snippets("sh")))
def test_commands_are_a_shells(snippet: Snippet) -> None:
    """Placeholders count as words."""
    text = PLACEHOLDER.sub("placeholder", snippet.text)
    done = subprocess.run(
        ["/bin/bash", "-n"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", **_identities(_snippets("sh")))
def test_commands_of_ours_exist(snippet: Snippet) -> None:
    """With their options; and make's targets."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in _commands(snippet.text):
        if words[0] == "make":
            named = [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word)]
            assert set(named) <= targets
        elif words[0].removeprefix(".venv/bin/") == "statuswire":
            _check_command(words[1:])


def _commands(text: str) -> Iterator[list[str]]:
    """The words of every command that begins a line, or follows what joins commands."""
    plain = PLACEHOLDER.sub("placeholder", text).replace("\\\n", " ")
    for line in plain.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) <= set("();<>|&"):
                    if words:
                        yield words
                    words = []
                else:
                    words.append(word)
        except ValueError:  # a quotation that goes on in the next line: not a command of ours
            continue
        if words:
            yield words


def _check_command(words: list[str]) -> None:
    group: Any = typer.main.get_command(cli.app)
    command = group
    while words and (sub := _subcommand(command, words[0])) is not None:
        command, words = sub, words[1:]
    known = {opt for each in command.params for opt in (*each.opts, *each.secondary_opts)}
    named = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert named <= known | {"--help"}, f"{command.name}: {named - known}"
    assert command is not group or not words or words[0].startswith("-"), words


def _subcommand(command: Any, name: str) -> Any:
    """None where there is none of that name."""
    if name == "dlq":  # which the command line loads only where it is named
        return typer.main.get_command(dlq.app)
    return getattr(command, "commands", {}).get(name)


@pytest.mark.parametrize("snippet", **_identities(_snippets("json")))
def test_json_is_json(snippet: Snippet) -> None:
    """A line each, or one for all; what is left out is `…`."""
    for text in _values(snippet.text):
        whole = re.sub(r",?\s*…", "", text).replace("[…]", "[]")
        assert json.loads(whole) is not None


def _values(text: str) -> list[str]:
    lines = text.strip().splitlines()
    return lines if all(line.startswith("{") and line.endswith("}") for line in lines) else [text]


@pytest.mark.parametrize("snippet", **_identities(_snippets("yaml")))
def test_yaml_is_yaml(snippet: Snippet) -> None:
    """Placeholders and CloudFormation's functions count as text."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("!", lambda *_: "")  # type: ignore[attr-defined]
    assert yaml.load(PLACEHOLDER.sub("placeholder", snippet.text), loader)  # noqa: S506  # safe


@pytest.mark.parametrize("snippet", **_identities(_snippets("python")))
def test_python_is_python(snippet: Snippet) -> None:
    """An `async for` may stand alone."""
    ast.parse("async def shown():\n" + "\n".join(f"    {x}" for x in snippet.text.splitlines()))


@pytest.mark.parametrize("snippet", **_identities(_snippets("js")))
def test_javascript_is_javascript(snippet: Snippet, tmp_path: Path) -> None:
    """A module's."""
    (tmp_path / "shown.mjs").write_text(snippet.text)
    node = ROOT / ".venv" / "bin" / "node"
    done = subprocess.run(
        [node, "--check", tmp_path / "shown.mjs"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_links_lead_somewhere(paper: Path) -> None:
    """To a file of this repository, and to a heading of it."""
    text = FENCE.sub("", paper.read_text())
    for link in LINK.findall(text):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (paper.parent / path).resolve() if path else paper
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@cache
def _anchors(paper: Path) -> frozenset[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", paper.read_text()), re.MULTILINE)
    return frozenset(
        "".join(
            each
            for each in heading.lower().replace(" ", "-")
            if each in "-_" or unicodedata.category(each)[0] in "LN"
        )
        for heading in headings
    )


def test_parameters_and_outputs_are_all_told() -> None:
    """docs/parameters.md is what `make parameters` writes."""
    assert parameters.WRITTEN.read_text() == parameters.markdown()


def test_every_paper_is_on_the_map() -> None:
    """docs/README.md leads to each."""
    mapped = set(LINK.findall((ROOT / "docs" / "README.md").read_text()))
    papers = {paper.name for paper in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert papers <= mapped
