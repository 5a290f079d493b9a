"""One connection from the viewer's side: messages in, items and messages out. Pure.

Time comes in as a number, in seconds of any clock that only rises.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from consumer.client.items import (
    Gap,
    Heartbeat,
    Item,
    Live,
    Resumed,
    Skipped,
    Snapshot,
    Stale,
    Status,
)

SUBSCRIPTION: Final = "1"
RENEWAL: Final = "token"
OPEN_WITHIN_S: Final = 10.0  # a server that lets in and says nothing is as lost as one that is gone
STALE_AFTER: Final = 2.25  # heartbeats: two missed, and a quarter for the way
LOST_AFTER: Final = 4.0
LOST_AFTER_AT_LEAST_S: Final = 10.0  # a short heartbeat is no reason to dial in haste
SEEN_IDS: Final = 1_000  # × ~150 B = 150 kB


class Seen:
    """The ids of the newest events: of a server that lacks `strictly_once`, one may come again."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def is_new(self, id_: str) -> bool:
        """Whether it has not been asked of lately."""
        is_new = id_ not in self._ids
        self._ids[id_] = None
        if len(self._ids) > SEEN_IDS:
            del self._ids[next(iter(self._ids))]
        return is_new


SILENT: Final = "nothing was heard for two heartbeats"
LOG_AWAY: Final = "the server's log does not answer"


class Dialogue:
    """What is said on one connection, from its opening on."""

    def __init__(
        self,
        watch: Sequence[str],
        since: str | None,
        now_s: float,
        *,
        renew_at_s: float | None = None,
        seen: Seen | None = None,
    ) -> None:
        """`renew_at_s`: when to show another token, if ever. `seen`: in connections before."""
        self.watch = watch
        self.cursor = since
        """The newest place that can be resumed from; None before a first snapshot is whole."""
        self.lacks: frozenset[str] = frozenset()
        self.is_welcomed = False
        self.live_since_s: float | None = None
        self.retry_s: float | None = None
        """When the server asks to come back, once it goes away."""
        self.told_code: int | None = None
        """What it would close with, of a server that cannot say so in closing."""
        self.over: str | None = None
        """Why this connection should be left, once it should."""
        self.refused: tuple[str, str] | None = None
        """Why what is to be watched was not granted: the error's name, and what it says."""
        self._may_keep = since is not None  # whether a message's cursor may replace ours
        self._events: list[Any] = []  # of a snapshot that is not whole yet
        self._heartbeat_s = 0.0  # until the welcome
        self._silent_since_s = now_s
        self._has_heard = False
        self._is_live = False  # what stands, or what was missed, has been told
        self._stale: str | None = None  # why, while it is
        self._is_log_away = False  # so that whatever else the server says, nothing new is told
        self._renew_at_s = renew_at_s
        self._seen = Seen() if seen is None else seen
        self._outgoing: list[str] = [self._opening()]

    def outgoing(self) -> list[str]:
        """What is to be sent now, each once."""
        waiting, self._outgoing = self._outgoing, []
        return waiting

    def receive(self, text: str) -> list[Item]:
        """Take a message."""
        self._has_heard = True
        try:
            message = json.loads(text)
            items = self._take(message)
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            self.over = "the server said something unreadable"
            return []
        return items

    def waits(self, now_s: float) -> None:
        """All that was received is dealt with: silence counts from here, however long that took."""
        if self._has_heard:
            self._silent_since_s = now_s
            self._has_heard = False
        if self.live_since_s is None and self._is_live:
            self.live_since_s = now_s

    @property
    def due_s(self) -> float:
        """When `pass_time` should be called, if nothing is received before."""
        due_s = self._silent_since_s + self._bound_s
        may_renew = self.is_welcomed and self._renew_at_s is not None
        return min(due_s, self._renew_at_s or 0.0) if may_renew else due_s

    def pass_time(self, now_s: float) -> list[Item]:
        """It has become late."""
        silent_s = now_s - self._silent_since_s
        if silent_s >= self._lost_after_s:
            self.over = "the server is silent"
        if self._is_live and self._stale is None and silent_s >= self._stale_after_s:
            self._stale = SILENT
            return [Stale(SILENT)]
        return []

    def wants_token(self, now_s: float) -> bool:
        """Whether it is time to `renew`."""
        return self.is_welcomed and self._renew_at_s is not None and now_s >= self._renew_at_s

    def renew(self, token: str | None, renew_at_s: float | None) -> None:
        """Show another token, or none for now, and yet another at the time given."""
        self._renew_at_s = renew_at_s
        if token is not None:
            self._outgoing.append(json.dumps({"op": "token", "id": RENEWAL, "token": token}))

    def leave(self, why: str) -> None:
        """Come back in another connection, at once."""
        self.over = why
        self.retry_s = 0.0

    @property
    def _may_repeat(self) -> bool:
        return "strictly_once" in self.lacks

    # How long silence may last.

    @property
    def _stale_after_s(self) -> float:
        return self._heartbeat_s * STALE_AFTER if self._heartbeat_s else OPEN_WITHIN_S

    @property
    def _lost_after_s(self) -> float:
        if not self._heartbeat_s:
            return OPEN_WITHIN_S
        return max(self._heartbeat_s * LOST_AFTER, LOST_AFTER_AT_LEAST_S)

    @property
    def _bound_s(self) -> float:
        """The silence at which something is to be done next."""
        if self._is_live and self._stale is None:
            return self._stale_after_s
        return self._lost_after_s

    # What the server says.

    def _take(self, message: dict[str, Any]) -> list[Item]:
        """An `op` that is not known is left alone: the contract may grow."""
        take = _TAKE.get(message["op"])
        items = [] if take is None else take(self, message)
        return items + self._freshen()

    def _freshen(self) -> list[Item]:
        """Live or stale, now that something was heard; neither before the first snapshot."""
        why = LOG_AWAY if self._is_log_away else None
        if not self._is_live or self._stale == why:
            return []
        self._stale = why
        return [Live() if why is None else Stale(why)]

    def _welcome(self, message: dict[str, Any]) -> list[Item]:
        heartbeat_s = float(message["heartbeat_s"])
        if not 0 < heartbeat_s < math.inf:
            raise ValueError
        self._heartbeat_s = heartbeat_s
        self.lacks = frozenset(message.get("lacks", ()))
        self.is_welcomed = True
        return []

    def _snapshot(self, message: dict[str, Any]) -> list[Item]:
        """One page; the cursor of any but the last is no promise."""
        self._events += message["events"]
        self._may_keep = not message["more"]
        if message["more"]:
            return []
        events, self._events = tuple(self._events), []
        self._keep(message)
        if self._may_repeat:
            for event in events:
                self._seen.is_new(event["id"])
        return [Snapshot(events, message["cursor"]), *self._become_live()]

    def _resumed(self, message: dict[str, Any]) -> list[Item]:
        self._keep(message)
        return [Resumed(message["cursor"]), *self._become_live()]

    def _status(self, message: dict[str, Any]) -> list[Item]:
        self._is_log_away = False
        status = Status(message["event"], message.get("late") is True, message["cursor"])
        self._keep(message)
        if self._may_repeat and not self._seen.is_new(status.event["id"]):
            return []
        return [status]

    def _gap(self, _: dict[str, Any]) -> list[Item]:
        """Its cursor is worth nothing until the snapshot that follows is whole: lost in between,
        the old one brings the gap again.
        """
        self._may_keep = False
        self._events = []
        return [Gap()]

    def _skipped(self, message: dict[str, Any]) -> list[Item]:
        self._keep(message)
        return [Skipped(message["count"], message["cursor"])]

    def _heartbeat(self, message: dict[str, Any]) -> list[Item]:
        self._keep(message)
        self._is_log_away = bool(message.get("away_ms"))
        return [Heartbeat(message.get("lag_ms"))]

    def _draining(self, message: dict[str, Any]) -> list[Item]:
        self.retry_s = message["retry_ms"] / 1000
        return []

    def _error(self, message: dict[str, Any]) -> list[Item]:
        if (code := message.get("close")) is not None:
            self.told_code = code
            self.over = str(message.get("message", ""))
        elif message["id"] == SUBSCRIPTION:
            self.refused = (message["code"], message["message"])
            self.over = message["message"]
        elif message["id"] == RENEWAL:  # it asks for none
            self._renew_at_s = None
        return []

    def _become_live(self) -> list[Item]:
        """Once in a connection; a gap while it is live does not end that."""
        if self._is_live:
            return []
        self._is_live = True
        return [Live()]

    def _keep(self, message: dict[str, Any]) -> None:
        """Keep the newest cursor, except while a snapshot is due or not whole."""
        if self._may_keep and "cursor" in message:
            self.cursor = message["cursor"]

    # What is said to it.

    def _opening(self) -> str:
        since = {} if self.cursor is None else {"since": self.cursor}
        watch = list(self.watch)
        return json.dumps({"op": "subscribe", "id": SUBSCRIPTION, "watch": watch, **since})


_TAKE: Final = {
    "welcome": Dialogue._welcome,
    "snapshot": Dialogue._snapshot,
    "resumed": Dialogue._resumed,
    "status": Dialogue._status,
    "gap": Dialogue._gap,
    "skipped": Dialogue._skipped,
    "heartbeat": Dialogue._heartbeat,
    "draining": Dialogue._draining,
    "error": Dialogue._error,
}
