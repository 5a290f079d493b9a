"""docs/errors.md: every refusal has a row, and no row is about none."""

import re
from pathlib import Path
from typing import Final

import yaml

from consumer import daemon
from consumer.core.messages import CloseCode
from consumer.hub import INTERNAL_ERROR

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = (ROOT / "docs" / "errors.md").read_text()


def rows(title: str) -> list[str]:
    """What stands in the first column of the section's table."""
    section = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_close_code_is_explained() -> None:
    """Those of the contract, and the library's one for a fault of ours."""
    assert [int(code) for code in rows("WebSocket: close codes")] == [INTERNAL_ERROR, *CloseCode]


def test_every_error_message_is_explained() -> None:
    """Those of the machine-readable twin, which another test holds against the code."""
    twin = yaml.safe_load((ROOT / "infra" / "asyncapi.yaml").read_text())
    codes = twin["components"]["schemas"]["errorCode"]["enum"]
    assert sorted(rows("WebSocket: `error` messages")) == sorted(codes)


def test_every_error_of_the_api_is_explained() -> None:
    """Those of the mapping templates, of API Gateway's own answers and of the functions."""
    told: set[str] = set()
    for path in [
        ROOT / "infra" / "openapi.source.yaml",
        *(ROOT / "infra" / "mappings").glob("*.vtl"),
        *(ROOT / "lambdas").glob("*/app.py"),
    ]:
        told.update(
            code
            for found in re.findall(
                r'"error": "(\w+)"|#set\(\$code = "(\w+)"\)|HTTPStatus\.\w+,\s*"(\w+)"',
                path.read_text(),
            )
            for code in found
            if code
        )
    assert len(told) > 15
    assert sorted(rows("The REST API")) == sorted(told)


def test_every_exit_code_is_explained() -> None:
    """And success."""
    codes = [0, daemon.EXIT_FAILED, daemon.EXIT_BAD_SETTINGS]
    assert [int(code) for code in rows("The process")] == codes
