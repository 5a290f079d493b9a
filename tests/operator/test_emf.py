"""What CloudWatch is told of a consumer, read off its own /metrics."""

import io
import json
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from consumer.operator import emf

EXPOSITION = """\
# TYPE statuswire_clients gauge
statuswire_clients {clients}
# TYPE statuswire_ready gauge
statuswire_ready 1.0
# TYPE statuswire_lag_seconds gauge
statuswire_lag_seconds 0.25
# TYPE statuswire_log_away_seconds gauge
statuswire_log_away_seconds 0.0
# TYPE statuswire_connections_refused_total counter
statuswire_connections_refused_total{{reason="connections"}} {refused}
statuswire_connections_refused_total{{reason="address"}} 2.0
statuswire_connections_refused_total{{reason="token"}} 40.0
# TYPE statuswire_frames_sent_total counter
statuswire_frames_sent_total 7.0
"""


def exposition(*, clients: float = 5, refused: float = 1) -> str:
    return EXPOSITION.format(clients=clients, refused=refused)


def told(*answers: str | Exception) -> list[dict[str, Any]]:
    """The lines for answers of /metrics, one after the other."""
    left: Iterator[str | Exception] = iter(answers)

    def ask() -> str:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    lines = emf.lines(ask, "statuswire", now_ms=lambda: 1_764_000_000_000)
    return [json.loads(line) for line in islice(lines, len(answers))]


def test_a_line_is_in_the_embedded_metric_format() -> None:
    """Every metric that it names has its value beside it, and so has the dimension."""
    (line,) = told(exposition())
    assert line["_aws"]["Timestamp"] == 1_764_000_000_000
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Statuswire"
    assert directive["Dimensions"] == [["Service"]]
    assert {each["Name"]: each["Unit"] for each in directive["Metrics"]} == emf.UNITS
    values = {name: line[name] for name in emf.UNITS}
    assert values == {
        "Clients": 5,
        "Ready": 1,
        "LagSeconds": 0.25,
        "LogAwaySeconds": 0,
        "Refused": 3,  # viewers that found no room, not those without a token
    }
    assert line["Service"] == "statuswire"


def test_refusals_are_those_since_the_last_line() -> None:
    """And all of them after a restart, which begins at 0."""
    lines = told(exposition(refused=1), exposition(refused=5), exposition(refused=0))
    assert [line["Refused"] for line in lines] == [3, 4, 2]


@pytest.mark.parametrize("answer", [ConnectionRefusedError(), TimeoutError(), "<html>\n\x00{"])
def test_a_consumer_that_does_not_answer_is_not_ready(answer: str | Exception) -> None:
    """Nothing is said of what is not known; and the next line is whole again."""
    silent, whole = told(answer, exposition())
    assert silent["Ready"] == 0
    assert "Clients" not in silent
    assert [each["Name"] for each in silent["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == ["Ready"]
    assert whole["Clients"] == 5


def test_it_ends_when_it_is_told_to() -> None:
    """After a line per period, each on its own."""
    ended = threading.Event()

    def lines() -> Iterator[str]:
        yield "one"
        ended.set()
        yield "two"

    out = io.StringIO()
    emf.run(lines(), out, ended, period_s=0.001)
    assert out.getvalue() == "one\ntwo\n"
