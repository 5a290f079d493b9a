"""The golden traces, which every log passes, played by functions that remember nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract import trace
from tests.lambdas.stand import Stand

# A socket that is full is API Gateway's affair: it takes what it is given, or ends the connection.
PLAYED = [
    path
    for path in trace.TRACES
    if not any("stall" in step for step in yaml.safe_load(path.read_text())["steps"])
]


class Player(trace.Player):
    """Plays a trace to connections instead of the hub's clients."""

    def __init__(self, path: Path, tables: Any) -> None:
        super().__init__(path, open_log=None, close_log=None)  # type: ignore[arg-type] # unused
        self.stand = Stand(tables, history=trace.RETENTION_EVENTS, retention_s=trace.RETENTION_S)

    async def _start(self) -> None:
        self.stand.renew()
        self.stand.sockets.sent.clear()

    async def _stop(self) -> None:
        """They are ended by nobody."""

    async def _settle(self) -> None:
        self.stand.now_ms = self._now_ms()

    async def _arrive(self, names: list[str]) -> None:
        self.stand.renew()
        self.stand.arrive(*(self.events[name] for name in names))

    async def _verdicts(self, expected: dict[str, str]) -> None:
        for name, verdict in expected.items():
            (outcome,) = self.stand.arrive(self.events[name])
            assert str(outcome.verdict) == verdict, f"{name} was {outcome.verdict}, not {verdict}"

    async def _connect(self, what: str | dict[str, Any]) -> None:
        assert isinstance(what, str)
        self.stand.connect(what)
        assert [each["op"] for each in self.stand.told(what)] == ["welcome"]

    async def _send(self, what: dict[str, dict[str, Any]]) -> None:
        for name, message in what.items():
            self.stand.ask(name, **self._concrete(message))

    async def _expect(self, what: dict[str, list[dict[str, Any]]]) -> None:
        for name, short in what.items():
            expected = [self._concrete(frame) for frame in short]
            got = self.stand.told(name)
            assert got == expected, f"got\n{trace._lines(got)}\nnot\n{trace._lines(expected)}"

    async def _beat(self, _: object) -> None:
        self.stand.beat()

    async def _wait_until(self, now_s: float) -> None:
        self.now_s = now_s
        self.stand.now_ms = self._now_ms()

    async def _prune(self, _: object) -> None:
        """What has expired is looked past, whenever DynamoDB gets round to it."""

    def _concrete_field(self, name: str, value: Any) -> Any:
        if name in ("cursor", "since"):
            return value.replace("E-", f"{self.stand.log.head().epoch}-")
        return super()._concrete_field(name, value)


@pytest.mark.parametrize("path", PLAYED, ids=lambda path: path.stem)
async def test_trace(path: Path, tables: Any) -> None:
    """What arrives leads to the frames that the trace says, whichever function sends them."""
    await Player(path, tables).play()


def test_all_traces_are_played_but_those_of_slow_sockets() -> None:
    """A new one is played too, or says why not."""
    assert len(trace.TRACES) - len(PLAYED) == 3
