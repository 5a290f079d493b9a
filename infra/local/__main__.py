"""`python -m infra.local [--once] [--replicas N]`: the demo.

Ports and the delay come from the environment.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from infra.local.demo import play
from infra.local.places import LocalRunError, Ports, is_taken
from infra.local.screen import Screen

# Variable → (default, field of Ports, what it is for).
PORTS = {
    "CONSUMER_PORT": (8080, "consumer", "the dashboard and the WebSocket"),
    "REST_PORT": (8081, "rest", "the REST API"),
    "AWS_PORT": (4566, "aws", "the embedded AWS"),
    "METRICS_PORT": (9090, "metrics", "the consumer's metrics"),
}

MAX_REPLICAS = 16  # × ~100 MB


def read_ports(environment: Mapping[str, str], *, replicas: int = 1) -> Ports:
    """Raises SystemExit with every line that is wrong."""
    chosen: dict[str, int] = {}
    wrong = []
    for variable, (default, field, use) in PORTS.items():
        given = environment.get(variable) or str(default)
        if not given.isdecimal() or int(given) > 65535:
            wrong.append(f"{variable} is {given!r}, which is not a port.")
            continue
        port = int(given)
        needed = replicas if field == "metrics" else 1  # each consumer's are on a port of its own
        taken = [each for each in range(port, port + needed) if port and is_taken(each)]
        wrong += [
            f"Port {each}, for {use}, is taken: set {variable} to another one." for each in taken
        ]
        chosen[field] = port
    if wrong:
        raise SystemExit("\n".join(wrong))
    return Ports(**chosen)


async def _play_until_told(*, once: bool, ports: Ports, replicas: int) -> int:
    """The exit code."""
    told: list[signal.Signals] = []
    playing = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        # A second signal must not tear down the tearing down; it takes 5 s at most.
        if not told and playing is not None:
            told.append(number)
            playing.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    delay = os.environ.get("DELAY_SECONDS")
    screen = Screen()
    try:
        await play(
            once=once,
            ports=ports,
            replicas=replicas,
            parameters={"DelaySeconds": delay} if delay else {},
            screen=screen,
        )
    except asyncio.CancelledError:
        # To be ended is how a demo ends; a single pass was not finished.
        return 128 + told[0] if once and told else 0
    except LocalRunError as error:
        screen.failure(str(error))
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("--once", action="store_true", help="one pass, then exit")
    parser.add_argument(
        "--replicas",
        type=int,
        default=1,
        choices=range(1, MAX_REPLICAS + 1),
        metavar="N",
        help=f"consumers behind one port, on a Redis (1 to {MAX_REPLICAS})",
    )
    arguments = parser.parse_args()
    replicas = arguments.replicas
    ports = read_ports(os.environ, replicas=replicas)
    return asyncio.run(_play_until_told(once=arguments.once, ports=ports, replicas=replicas))


if __name__ == "__main__":
    sys.exit(main())
