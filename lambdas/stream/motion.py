"""Bringing a connection up: what it asked for, and every entry that matches, in the log's order.

The same one motion as the consumer's hub makes, by whichever function holds the connection's lease:
greet it, catch up with the log, serve its requests in turn. What it was told is written down when
the lease is given back, so one that dies half-way has the rest, and perhaps some of it twice, told
by the next.
"""

import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from consumer.core import messages, statuses
from consumer.core.entries import Entry, cursor, place_in, text_of
from consumer.core.limits import Limits
from consumer.core.messages import BadRequest, CloseCode, Ping, Subscribe, Token, Unreadable
from consumer.core.session import Session
from consumer.core.watch import single_executions
from lambdas.stream.connections import Connection, Connections, Gone, Lost
from lambdas.stream.draft import Head
from lambdas.stream.log import DynamoLog, Trimmed
from lambdas.stream.posts import PostFailed, Posts
from lambdas.stream.replica import Replica

# What of the protocol cannot be done here; docs/without-a-daemon.md says why of each.
LACKS: Final = (*("close_codes", "draining", "pings", "request_order", "skipped", "strictly_once"),)
# API Gateway takes frames of up to 32 KB ("Quotas for … a WebSocket API"); whichever KB that is.
MAX_FRAME_BYTES: Final = 32_000
LIMITS: Final = Limits(watches=50)  # × ~160 B = 8 kB of a connection's item, which each turn writes
GREETED_WITHIN_MS: Final = 5_000  # of the answer to the handshake, which takes some ten ms
LOOK_S: Final = 0.03
# API Gateway ends a connection after 2 h; two heartbeats and a half before, it is told to go.
DRAINED_AFTER_S: Final = 2 * 3600 - 150
MAX_RETRY_MS: Final = 5_000
ORIGIN: Final = 0  # the place before the first


class Unwelcome(Exception):
    """A connection that must end; the consumer would close it with this code."""

    def __init__(self, code: CloseCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Told(NamedTuple):
    """A connection and what is kept of it meanwhile."""

    connection: Connection
    session: Session


def dismiss(connections: Connections, posts: Posts, id_: str, unwelcome: Unwelcome) -> None:
    """End a connection with an error that names the close code which cannot be sent."""
    with suppress(Gone, PostFailed):
        posts.post(id_, text_of(messages.closing(unwelcome.code, str(unwelcome))))
    connections.forget(id_)
    posts.close(id_)


def told_of(seen: Connection) -> set[str]:
    """Every pattern that a connection is told of, or will be by requests that wait.

    Those that have been answered wait too, until whoever serves them gives the lease back.
    """
    wanted = set(seen.watch)
    for request in seen.requests:
        with suppress(Unreadable, BadRequest):
            asked = messages.decode(request.text.encode(), LIMITS)
            if isinstance(asked, Subscribe):
                wanted.update(asked.watch)
    return wanted


class Motion:
    """For all connections."""

    def __init__(
        self,
        status_log: DynamoLog,
        connections: Connections,
        posts: Posts,
        *,
        heartbeat_s: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._log = status_log
        self._connections = connections
        self._posts = posts
        self._replica = Replica(status_log)
        self._heartbeat_s = heartbeat_s
        self._now_ms = now_ms

    def serve(
        self,
        id_: str,
        *,
        until_ms: int,
        due: int = 0,
        noted: Iterable[str] = (),
        beat: bool = False,
    ) -> bool:
        """See to it that a connection is told all that is due; whether by ourselves.

        `due`: a place that it must reach. `noted`: patterns by which it was found. `beat`: with a
        heartbeat at the end. Raises `PostFailed`, and what the tables raise.
        """
        try:
            held = self._connections.claim(id_, due=due, until_ms=until_ms)
            if held is None:
                return False
            self._hold(held, beat=beat)
        except Gone:
            self._connections.forget(id_, list(noted))
        except Lost:
            return False
        return True

    def _hold(self, held: Connection, *, beat: bool) -> None:
        try:
            while True:
                self._bring(held)
                if beat:
                    beat = False
                    self._beat(held)
                if self._connections.release(held):
                    return
        except Unwelcome as unwelcome:
            self.dismiss(held.id, unwelcome)
        except (Gone, Lost):
            raise
        except Exception:
            self._connections.abandon(held)
            raise

    def dismiss(self, id_: str, unwelcome: Unwelcome) -> None:
        """Say why, since no close code can, and end it."""
        dismiss(self._connections, self._posts, id_, unwelcome)

    def forget(self, id_: str) -> None:
        """It has ended."""
        self._connections.forget(id_)

    def beat(self, seen: Connection, *, until_ms: int) -> None:
        """A heartbeat, as it stood a moment ago. Raises as `serve` does.

        Only with the lease in hand is its place known, and so the cursor: that is taken where
        something is to be done anyway.
        """
        if self._now_ms() // 1000 - seen.connected_s > DRAINED_AFTER_S:
            self._drain(seen)
            return
        head = self._log.head()
        is_behind = seen.place < head.place or seen.epoch != head.epoch
        asks = bool(seen.requests) or not seen.greeted or self._must_end(seen)
        if (asks or (seen.watch and is_behind)) and self.serve(
            seen.id, until_ms=until_ms, beat=True
        ):
            return
        try:
            self._posts.post(seen.id, text_of(messages.heartbeat(None, head.lag_ms)))
        except Gone:
            self._connections.forget(seen.id)

    def _drain(self, seen: Connection) -> None:
        """API Gateway would end it within minutes, and say nothing."""
        retry_ms = random.randint(0, MAX_RETRY_MS)  # noqa: S311 # apart from each other
        with suppress(Gone, PostFailed):
            self._posts.post(seen.id, text_of(messages.draining(retry_ms)))
        self._connections.forget(seen.id)
        self._posts.close(seen.id)

    def _beat(self, held: Connection) -> None:
        at = cursor(held.epoch, held.place) if held.watch else None
        self._post(held, messages.heartbeat(at, self._log.head().lag_ms))

    def _must_end(self, seen: Connection) -> bool:
        return seen.grant.has_expired(self._now_ms() / 1000)

    def _bring(self, held: Connection) -> None:
        """Everything up to here, for one who holds it."""
        if not held.greeted:
            self._greet(held)
        head = self._log.head()
        if not held.epoch:
            held.epoch, held.place = head.epoch, head.place
        session = Session(held.epoch, LIMITS)
        session.place, session.watch = held.place, dict(held.watch)
        told = Told(held, session)
        try:
            self._check_right(told)
            self._catch_up(told, head)
            while held.served < len(held.requests):
                self._obey(told, held.requests[held.served].text)
                held.served += 1
        finally:
            held.epoch, held.place, held.watch = session.epoch, session.place, session.watch

    def _greet(self, held: Connection) -> None:
        """A connection can be written to once its handshake is answered: a moment from now."""
        welcome = text_of(messages.welcome(self._heartbeat_s, LACKS))
        while True:
            try:
                self._posts.post(held.id, welcome)
            except Gone:
                if self._now_ms() - held.connected_s * 1000 > GREETED_WITHIN_MS:
                    raise
                time.sleep(LOOK_S)
            else:
                held.greeted = True
                return

    def _check_right(self, told: Told) -> None:
        if self._must_end(told.connection):
            raise Unwelcome(CloseCode.TOKEN, "the token has expired")
        if told.connection.grant.refused(told.session.watch):
            message = "the new token does not cover what is watched"
            raise Unwelcome(CloseCode.FORBIDDEN, message)

    def _catch_up(self, told: Told, head: Head) -> None:
        session = told.session
        if session.epoch != head.epoch:
            self._gap(told, None, session.watch, known=True)
        elif session.place < head.place:
            try:
                if session.watch:
                    self._replay(told, head)
                session.place = head.place
            except Trimmed:
                self._gap(told, None, session.watch, known=True)

    def _replay(self, told: Told, head: Head) -> None:
        session = told.session
        for entry in self._log.read(head, session.place):
            if not session.watch.keys().isdisjoint(entry.patterns):
                self._post(told.connection, entry.frame)
            session.place = entry.place

    # Requests.

    def _obey(self, told: Told, text: str) -> None:
        """Serve a client's message. Raises `Unwelcome`."""
        try:
            request = messages.decode(text.encode(), LIMITS)
            if isinstance(request, Ping):
                self._post(told.connection, messages.pong(request.id))
            elif isinstance(request, Subscribe):
                told.session.admit(request)
                told.session.served()
                self._subscribe(told, request)
            elif not isinstance(request, Token):  # which has a route, and a function, of its own
                told.session.end(request.watch)
                self._connections.strike(told.connection.id, request.watch)
        except Unreadable as error:
            raise Unwelcome(CloseCode.MALFORMED, str(error)) from error
        except BadRequest as error:
            self._post(told.connection, messages.failure(error))

    def _subscribe(self, told: Told, request: Subscribe) -> None:
        connection, session = told
        if connection.grant.refused(request.watch):
            raise Unwelcome(CloseCode.FORBIDDEN, "the token does not cover this watch")
        # First of all, so that whatever is taken from now on finds it.
        self._connections.note(connection.id, request.watch)
        if request.since is None:
            self._snapshot(told, request.id, request.watch)
            session.begin(request.watch, session.place)
        else:
            session.begin(request.watch, self._resume(told, request, request.since))

    def _resume(self, told: Told, request: Subscribe, since: str) -> int:
        """Send what matches after the cursor; returns the place after which all is told then."""
        session = told.session
        while not self._is_at(told, head := self._log.head()):
            self._catch_up(told, head)
        place = place_in(head.epoch, since)
        if place is None or place > head.place:
            self._gap(told, request.id, request.watch)
            return session.place
        watch = set(request.watch)
        try:
            for entry in self._log.read(head, place):
                if not watch.isdisjoint(entry.patterns) and not session.was_told(entry):
                    self._post(told.connection, entry.frame)
        except Trimmed:
            self._gap(told, request.id, request.watch)
            return session.place
        at = cursor(session.epoch, session.place)
        self._post(told.connection, messages.resumed(request.id, at))
        return place

    def _gap(
        self, told: Told, id_: str | None, patterns: Iterable[str], *, known: bool = False
    ) -> None:
        """What lies between is gone. `known`: in what it watches already."""
        if known:
            head, found = self._replica.matching(patterns)
            told.session.move(head.epoch, head.place)
            if not told.session.watch:
                return
        else:
            found = self._standing(told, patterns)
        at = cursor(told.session.epoch, told.session.place)
        self._post(told.connection, messages.gap(id_, at))
        self._tell(told, id_, patterns, found)

    def _snapshot(self, told: Told, id_: str | None, patterns: Iterable[str]) -> None:
        self._tell(told, id_, patterns, self._standing(told, patterns))

    def _standing(self, told: Told, patterns: Iterable[str]) -> list[Entry]:
        """What stands and matches; all that it watches has been told up to the same place."""
        while True:
            head, found = self._replica.matching(patterns)
            self._catch_up(told, head)
            if self._is_at(told, head):  # and not further, by a gap that it met
                return found

    def _is_at(self, told: Told, head: Head) -> bool:
        return (told.session.epoch, told.session.place) == (head.epoch, head.place)

    def _tell(
        self, told: Told, id_: str | None, patterns: Iterable[str], found: Iterable[Entry]
    ) -> None:
        """What stands at the connection's place."""
        session = told.session
        in_full = single_executions(patterns)
        payloads: list[bytes] = []
        for entry in found:
            if in_full.isdisjoint(entry.patterns):
                payloads.append(entry.payload)
            else:
                payloads += self._steps(entry, session)
        origin, own = (cursor(session.epoch, place) for place in (ORIGIN, session.place))
        for frame in messages.snapshot(id_, origin, own, payloads, MAX_FRAME_BYTES):
            self._post(told.connection, frame)

    def _steps(self, newest: Entry, session: Session) -> Iterable[bytes]:
        """All that is kept of an execution in its own order, so that the newest comes last."""
        kept = self._log.history(session.epoch, newest.key, session.place)
        every = {**{entry.place: entry for entry in kept}, newest.place: newest}
        in_order = sorted(every.values(), key=lambda entry: statuses.order(entry.event))
        return (entry.payload for entry in in_order)

    def _post(self, held: Connection, frame: bytes) -> None:
        self._posts.post(held.id, text_of(frame))
