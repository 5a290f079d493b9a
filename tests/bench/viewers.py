"""The viewers and their feed, `native/viewers.c`, from Python."""

from pathlib import Path
from typing import Any

from tests.bench.compiled import compiled
from tests.bench.pinned import Pinned

SLACK_S = 60.0  # for answers to what should have ended by itself


class Viewers:
    """Connections to one server, and the feed of what they watch; see the C for its commands."""

    def __init__(self, dialect: str, core: int, output: Path) -> None:
        self._process = Pinned([compiled("viewers"), dialect], core, output)

    def connect(self, port: int, count: int, each: int) -> dict[str, Any]:
        """Open so many; each watches so many topics of its own, or, for 0, all the same one."""
        told = self._ask(f"connect {port} {count} {each}")
        if told["failed"]:
            raise RuntimeError(f"{told['failed']} of {count} connections failed")
        return told

    def feed(self, port: int) -> None:
        """Events go there."""
        self._ask(f"feed {port}")

    def play(
        self, seconds: float, *, rate: float, most: int, fanout: int, topics: int, first: int = 0
    ) -> dict[str, Any]:
        """Make events for so long; `rate` 0 is as fast as viewers take them, `most` under way."""
        return self._ask(f"play {seconds} {rate} {most} {fanout} {topics} {first}", seconds)

    def wait(self, seconds: float) -> dict[str, Any]:
        """Only hold the connections."""
        return self._ask(f"wait {seconds}", seconds)

    def wait_until_closed(self, seconds: float) -> dict[str, Any]:
        """Until the server has closed them all, or so long."""
        return self._ask(f"closed {seconds}", seconds)

    def kill(self) -> None:
        self._process.kill()

    def _ask(self, command: str, seconds: float = 0.0) -> dict[str, Any]:
        self._process.say(command)
        return self._process.hear(seconds + SLACK_S)
