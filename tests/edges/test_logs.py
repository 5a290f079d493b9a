"""Logs: one JSON object a line, with the same fields everywhere."""

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import consumer
from consumer import __version__, logs
from tests.edges.test_monitoring import DOCUMENT


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    logging.captureWarnings(capture=False)
    root.handlers = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_when_how_bad_who_what_and_which_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And what else it has to say beside them."""
    logs.begin()
    logging.getLogger("consumer.pipeline").warning("poll failed", extra={"queue": "status"})
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", line.pop("time"))
    assert line == {
        "level": "WARNING",
        "logger": "consumer.pipeline",
        "message": "poll failed",
        "version": __version__,
        "queue": "status",
    }


def test_a_traceback_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever collects lines would tear it apart."""
    logs.begin()
    logging.getLogger("consumer").error("failed", exc_info=ValueError("two\nlines"))
    (line,) = lines(capsys)
    assert "ValueError: two\nlines" in line["exc_info"]


def test_the_operator_chooses_the_level_and_the_sdk_stays_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At DEBUG it would log requests, credentials' headers among them."""
    logs.begin()
    logs.set_level("DEBUG")
    logging.getLogger("consumer").debug("said")
    for name in ("botocore.auth", "aiobotocore.endpoint", "aioboto3"):
        logging.getLogger(name).info("a request with its signature")
    assert [line["message"] for line in lines(capsys)] == ["said"]


def test_fields_are_the_documented_ones() -> None:
    """One name for one thing, or a search finds half of it."""
    told = set(re.findall(r"`(\w+)`", DOCUMENT.split("## Logs")[1].split("\n| ")[0]))
    assert {"queue", "reason"} <= told
    for file in Path(consumer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "extra":
                keys = node.value.keys if isinstance(node.value, ast.Dict) else []
                assert {key.value for key in keys if isinstance(key, ast.Constant)} <= told, file
