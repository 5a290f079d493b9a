"""Frames of one subscription as news, and the cursor to come back with. Pure.

Infra's asyncapi.yaml has the frames. Those of a kind that is not known are left alone: the contract
may grow.
"""

from collections.abc import Mapping
from typing import Any

from consumer.terminal.news import (
    Connection,
    Event,
    Gap,
    Lag,
    News,
    Resumed,
    Skipped,
    Snapshot,
    Status,
)

Frame = Mapping[str, Any]


class Reading:
    """`cursor` is where to come back to, None for what stands. `heartbeat_s` is 0 until told."""

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor
        self.heartbeat_s = 0.0
        self.retry_s: float | None = None
        """How long a draining server wants us to wait."""
        self.is_live = False
        self._is_away = False
        self._may_keep = False
        self._events: list[Event] = []

    def begin(self) -> None:
        """A new connection."""
        self.heartbeat_s = 0.0
        self.retry_s = None
        self.is_live = False
        self._is_away = False
        self._may_keep = self.cursor is not None
        self._events = []

    def read(self, frame: Frame) -> list[News]:
        """What a frame tells."""
        told: list[News] = []
        match frame.get("op"):
            case "welcome":
                self.heartbeat_s = float(frame["heartbeat_s"])
            case "snapshot":
                told = self._snapshot(frame)
            case "resumed":
                self._keep(frame)
                told = [*self._becomes_live(), Resumed(self.cursor)]
            case "status":
                self._keep(frame)
                told = [Status(frame["event"], frame.get("cursor"), frame.get("late") is True)]
            case "skipped":
                self._keep(frame)
                told = [Skipped(int(frame["count"]))]
            case "gap":
                # Its cursor is worth nothing before the snapshot that follows is whole: lost in
                # between, the old one brings the gap again.
                self._may_keep = False
                self._events = []
                told = [Gap()]
            case "heartbeat":
                told = self._heartbeat(frame)
            case "draining":
                self.retry_s = float(frame["retry_ms"]) / 1000
        return told

    def _snapshot(self, frame: Frame) -> list[News]:
        """One page; the cursor of any but the last is no promise."""
        self._events += frame["events"]
        if frame.get("more"):
            return []
        self._may_keep = True
        self._keep(frame)
        events, self._events = tuple(self._events), []
        return [*self._becomes_live(), Snapshot(events, self.cursor)]

    def _heartbeat(self, frame: Frame) -> list[News]:
        self._keep(frame)
        told: list[News] = []
        is_away = bool(frame.get("away_ms"))
        if is_away != self._is_away and self.is_live:
            why = "the server's log does not answer" if is_away else ""
            told.append(Connection("stale" if is_away else "live", why))
            self._is_away = is_away
        if isinstance(frame.get("lag_ms"), int | float):
            told.append(Lag(frame["lag_ms"]))
        return told

    def _becomes_live(self) -> list[News]:
        if self.is_live:
            return []
        self.is_live = True
        return [Connection("live")]

    def _keep(self, frame: Frame) -> None:
        if self._may_keep and frame.get("cursor"):
            self.cursor = frame["cursor"]
