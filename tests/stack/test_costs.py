"""The sums of docs/operations.md and of the templates' heads come out."""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.template.conftest import ROOT

DOCUMENT: Final = ROOT / "docs/operations.md"
SUM: Final = re.compile(r"^(?P<what>.*?) {2,}(?P<sum>[\d(][\d.,()×+*/ -]*?) += \$(?P<is>[\d,.]+)$")
HEAD: Final = re.compile(r"^#   (?P<what>[^$]*?) {2,}(?P<sum>[\d($][^#]*?) +\$(?P<is>[\d.]+)$")
OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value(node: ast.expr) -> float:
    """Of an arithmetic expression."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]  # only numbers match
    assert isinstance(node, ast.BinOp), ast.dump(node)
    return OPERATORS[type(node.op)](value(node.left), value(node.right))


def evaluate(text: str) -> float:
    return value(ast.parse(text.replace("×", "*"), mode="eval").body)


def sums() -> Iterator[tuple[str, str, str]]:
    """What, the expression, and what it is said to be."""
    for line in DOCUMENT.read_text().splitlines():
        if match := SUM.match(line):
            yield match["what"].strip(), match["sum"], match["is"].replace(",", "")


def head(path: Path) -> Iterator[tuple[str, str]]:
    """Expressions of a template's comment, and their values."""
    for line in path.read_text().splitlines():
        if match := HEAD.match(line):
            yield match["sum"].replace("$", ""), match["is"]


@pytest.mark.parametrize(("what", "text", "told"), list(sums()))
def test_a_sum_comes_out(what: str, text: str, told: str) -> None:
    """To the cent."""
    assert evaluate(text) == pytest.approx(float(told), abs=0.0051), what


def test_the_table_says_what_the_sums_say() -> None:
    """Whole dollars, for each way and number of viewers."""
    part = DOCUMENT.read_text().partition("## Dollars a month")[2]
    rows = [line.split("|")[1:-1] for line in part.splitlines() if "**$" in line]
    table = {
        name.strip(): [float(cell.strip(" *$").replace(",", "")) for cell in cells if "$" in cell]
        for name, *cells in rows
    }
    assert table.keys() == {"(a)", "(b)", "(c)", "AppSync Events"}
    for section in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
        (name,) = (name for name in table if section.startswith(name))
        ends = [line.rpartition("$")[2] for line in section.splitlines() if " in all " in line]
        assert [round(float(end.replace(",", ""))) for end in ends] == table[name]


@pytest.mark.parametrize("name", ["consumer.yaml", "consumer-small.yaml"])
def test_a_templates_head_says_the_same(name: str) -> None:
    """It is what people read first."""
    lines = list(head(ROOT / "infra" / name))
    assert len(lines) >= 3
    for text, told in lines:
        assert evaluate(text) == pytest.approx(float(told), abs=0.0051)
