"""What CloudWatch shall know of a consumer: a line a minute, read off `/metrics`.

Beside the daemon in its task, from the same image: `python -m consumer.operator.emf --service
NAME`. Whatever takes the container's output to CloudWatch Logs brings the metrics along, since
CloudWatch takes them out of lines in its embedded metric format (CloudWatch user guide,
"Specification: Embedded metric format"). So nobody needs a permission to send metrics, nor an
agent.
"""

import argparse
import json
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Final, TextIO

from prometheus_client.parser import text_string_to_metric_families

NAMESPACE: Final = "Statuswire"
PERIOD_S: Final = 60.0  # CloudWatch's own grain: more often would cost and show nothing more
ANSWER_S: Final = 5.0  # as long as /metrics gives a connection
PREFIX: Final = "statuswire_"
# CloudWatch's name → unit, and the gauge of /metrics. Each is $0.30 a month, so they are those that
# an alarm or the autoscaling asks for; everything else is in /metrics.
GAUGES: Final = {
    "Clients": ("Count", "clients"),
    "Ready": ("Count", "ready"),
    "LagSeconds": ("Seconds", "lag_seconds"),
    "LogAwaySeconds": ("Seconds", "log_away_seconds"),
}
# Viewers that found no room, of whatever bound: a counter, told as what came since the last line.
REFUSED: Final = "Refused"
NO_ROOM: Final = ("connections", "address")
UNITS: Final = {name: unit for name, (unit, _) in GAUGES.items()} | {REFUSED: "Count"}

Ask = Callable[[], str]


def values(exposition: str) -> dict[str, float]:
    """The metrics by CloudWatch's names, `REFUSED` as its total so far; absent what is not told."""
    found: dict[str, float] = {}
    names = {PREFIX + gauge: name for name, (_, gauge) in GAUGES.items()}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in names:
                found[names[sample.name]] = sample.value
            elif sample.name == f"{PREFIX}connections_refused_total":
                counts = sample.labels.get("reason") in NO_ROOM
                found[REFUSED] = found.get(REFUSED, 0.0) + (sample.value if counts else 0.0)
    return found


def line(found: Mapping[str, float], service: str, now_ms: int) -> str:
    """One log line that CloudWatch takes metrics out of; JSON, without a line feed."""
    about = {
        "Timestamp": now_ms,
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["Service"]],
                "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in found],
            }
        ],
    }
    return json.dumps({"_aws": about, "Service": service, **found}, separators=(",", ":"))


def lines(ask: Ask, service: str, *, now_ms: Callable[[], int]) -> Iterator[str]:
    """One for each time that it is asked for. A consumer that does not answer is not ready."""
    total = 0.0
    while True:
        try:
            found = values(ask())
        except (OSError, ValueError):  # nobody there, too slow, no exposition
            found = {"Ready": 0.0}
        if REFUSED in found:
            before, total = total, found[REFUSED]
            # Less than before is another process, which began at 0.
            found[REFUSED] = total - before if total >= before else total
        yield line(found, service, now_ms())


def run(told: Iterator[str], out: TextIO, ended: threading.Event, period_s: float) -> None:
    """A line per period until `ended`, the first after one: a task that begins is not ready yet."""
    while not ended.wait(period_s):
        print(next(told), file=out, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m consumer.operator.emf", description=__doc__)
    parser.add_argument("--service", required=True, help="the dimension `Service`")
    parser.add_argument("--port", type=int, default=9090, help="STATUSWIRE_METRICS_PORT")
    parser.add_argument("--period", type=float, default=PERIOD_S, help="seconds")
    chosen = parser.parse_args(arguments)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    def ask() -> str:
        address = f"http://127.0.0.1:{chosen.port}/metrics"
        with urllib.request.urlopen(address, timeout=ANSWER_S) as answer:
            text: bytes = answer.read()
        return text.decode()

    told = lines(ask, chosen.service, now_ms=lambda: time.time_ns() // 1_000_000)
    run(told, sys.stdout, ended, chosen.period)


if __name__ == "__main__":
    main()
