"""The hub: from the log's change feed to the sessions of the clients that watch.

A client is *live* while it stands where the hub stands: entries are pushed to it as they come.
Whenever it asks for something it steps aside: one task brings it, by reading the log, to where the
hub is by then, and puts it back in line. Snapshot, resume and a gap are all that one motion.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Final

from consumer.core import events, messages, statuses
from consumer.core.audiences import Audience, Audiences, Members
from consumer.core.entries import Batch, Entry, cursor, place_in
from consumer.core.messages import Subscribe, Unsubscribe
from consumer.core.recent import Recent
from consumer.core.session import Session, Tally
from consumer.core.view import View
from consumer.core.watch import single_executions
from consumer.line import Line
from consumer.pipeline import Counts
from consumer.ports import Client, EpochEnded, LogUnavailable, StatusLog, Trimmed
from consumer.timings import Timings

log = logging.getLogger(__name__)

ORIGIN: Final = 0  # the place before the first
MAX_JOINED_EVENTS: Final = 64  # in one write; far below the outbox's bound, which is for the slow
MAX_WRITE_BYTES: Final = 64 * 1024  # of a replay at once: what the socket's own buffer may hold
REPLAYED: Final = 100  # entries at once: × ~3 µs to make their frames, and others have their turn
INTERNAL_ERROR: Final = 1011  # RFC 6455, section 7.4.1
RETRY_S: Final = 0.5  # while the log does not answer


class Spread:
    """Writes to one client after another; one that writes to many at once is in the edges."""

    def nobody(self) -> Members[Client]:
        """An audience's members, before the first has joined."""
        return set()

    def write(self, members: Members[Client], batch: Batch) -> int:
        """Write to an audience's members what is due to it, or put it in line for them; returns to
        how many it was written.
        """
        return sum([client.deliver(batch) for client in list(members)])


class Hub:
    """Knows who watches what. One event loop, no locks: what is not awaited is atomic."""

    def __init__(
        self,
        status_log: StatusLog,
        now_ms: Callable[[], int],
        counts: Counts | None = None,
        timings: Timings | None = None,
        spread: Spread | None = None,
        recent: Recent | None = None,
    ) -> None:
        """`recent` keeps what is to be resumed from without asking the log; by default, nothing."""
        self._spread = spread or Spread()
        self._recent = Recent() if recent is None else recent
        self.place = ORIGIN
        self.view = View()
        self.clients: set[Client] = set()
        self.lag_ms: int | None = None
        self.tally = Tally()
        self._log = status_log
        self._now_ms = now_ms
        self._counts = Counts() if counts is None else counts
        self._timings = timings or Timings(now_ms)
        self._audiences = Audiences[Client](self._spread.nobody)
        self._tasks: dict[Client, asyncio.Task[None]] = {}
        self._line = Line()
        self._has_begun = asyncio.Event()
        self._news: asyncio.Future[None] | None = None  # of who waits for a place to come

    @property
    def epoch(self) -> str:
        """What its place belongs to."""
        return self._log.epoch

    async def load(self) -> None:
        """Read what stands in the log; to be called once, before `follow`."""
        gc.disable()  # nothing here is garbage: looking for it took 1.1 s of 2.7 for 100,000 keys
        try:
            self.place, newest = await self._log.newest()
            view = View()
            for entry in newest:
                view.apply(entry)
            self.view = view
            self._recent.begin(self.place)
        finally:
            gc.enable()
        gc.freeze()  # nor is it looked for later on, in what was there at the start

    async def follow(self) -> None:
        """Pass on every change, for ever."""
        while True:
            try:
                async for entries in self._log.changes(after=self.place):
                    for start in range(0, len(entries), MAX_JOINED_EVENTS):
                        self._publish(entries[start : start + MAX_JOINED_EVENTS])
            except (EpochEnded, Trimmed) as error:
                log.warning("beginning again", extra={"reason": type(error).__name__})
                await self._begin_again()
            else:
                return  # no log ends its feed; were it to, asking again and again would be no help

    async def _begin_again(self) -> None:
        """Read anew what stands, and have every client told so."""
        while True:
            try:
                await self.load()
                break
            except LogUnavailable as error:
                log.warning("the log does not answer; trying again", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_S)
        # Nothing was awaited since the view is of the new epoch.
        for client in self.clients:
            self._turn_to(client)
        self._has_begun.set()
        self._has_begun = asyncio.Event()
        self._tell_of_news()

    def admit(self, client: Client) -> None:
        """Take a new client in."""
        self.clients.add(client)
        client.session.epoch = self.epoch
        client.session.place = self.place
        client.session.tally = self.tally
        self._attach(client)

    def dismiss(self, client: Client) -> None:
        """Let go of a client whose connection is closed."""
        self.clients.discard(client)
        self._detach(client)
        if task := self._tasks.pop(client, None):
            task.cancel()

    def request(self, client: Client, request: Subscribe | Unsubscribe) -> None:
        """Serve a client's request after those before it. Raises as `Session.admit` does."""
        client.session.admit(request)
        self._turn_to(client)

    def beat(self, clients: Iterable[Client]) -> None:
        """Send those that are not held up a heartbeat, with a cursor if nothing waits."""
        away_ms = round(self._log.away_s * 1000)
        frame = messages.heartbeat(cursor(self.epoch, self.place), self.lag_ms, away_ms)
        without_cursor = messages.heartbeat(None, self.lag_ms, away_ms)
        for client in clients:
            if not client.session.is_paused:
                client.write(frame if client.session.is_idle else without_cursor)

    @property
    def subscriptions(self) -> int:
        """Patterns that clients watch, each as often as it is watched. May be asked by any thread:
        a copy of a set is one step.
        """
        return sum(len(client.session.watch) for client in list(self.clients))

    def watchers(self, entry: Entry) -> int:
        """How many live clients watch an entry."""
        return sum(len(audience.members) for audience in self._audiences.of(entry))

    def forget_ended(self, before_ms: int) -> None:
        """Let ended executions and terminated instances fade out of the view, and entries as old
        out of memory.
        """
        self.view.forget_ended(before_ms)
        self._recent.forget(before_ms)

    async def close(self) -> None:
        """End what is under way for clients."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _publish(self, entries: Sequence[Entry]) -> None:
        """Pass entries on to those who watch; what one client gets of them leaves in one write,
        whose bytes are the same for all who watch the same.
        """
        due: dict[Audience[Client], list[Entry]] = {}
        watched = []
        for entry in entries:
            self.view.apply(entry)
            self._recent.add(entry)
            if found := self._audiences.of(entry):
                watched.append(entry)
                for audience in found:
                    due.setdefault(audience, []).append(entry)
        self.place = entries[-1].place
        self.lag_ms = max(0, self._now_ms() - events.milliseconds(entries[-1].event.time))
        for audience, its in due.items():
            batch = Batch(its)
            self.tally.add(batch, self._spread.write(audience.members, batch))
        self._timings.sent(watched)
        self._tell_of_news()

    def _tell_of_news(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def _attach(self, client: Client) -> None:
        client.session.is_live = True
        if watch := client.session.watch:
            self._audiences.join(client, watch)

    def _turn_to(self, client: Client) -> None:
        """Have a client served, if it is not already."""
        if client not in self._tasks:
            self._detach(client)
            self._tasks[client] = asyncio.create_task(self._serve(client))

    def _detach(self, client: Client) -> None:
        if client.session.is_live:
            client.session.is_live = False
            client.session.place = self.place
            if watch := client.session.watch:
                self._audiences.leave(client, watch)

    async def _serve(self, client: Client) -> None:
        """Serve a client's requests in turn, bring it up to the hub's place, put it in line."""
        session = client.session
        try:
            await client.drained()
            while session.commands or self._is_behind(session):
                await self._line.turn()  # or many who ask for much would hold up the others
                try:
                    await self._catch_up(client)
                    if session.commands:
                        await self._obey(client, session.commands[0])
                        session.served()
                except EpochEnded:
                    session.forget_cursor()
                    await self._next_epoch(session.epoch)
        except ConnectionError:
            return  # it is gone, and with it what it asked for
        except LogUnavailable as error:
            log.warning("a client's request failed", extra={"reason": str(error)})
            client.close(messages.CloseCode.OVER_CAPACITY, "the log does not answer; try again")
        except Exception:
            log.exception("a client's request failed; closing its connection")
            client.close(INTERNAL_ERROR, "internal error; reconnect with your cursor")
        else:
            del self._tasks[client]
            self._attach(client)

    def _is_behind(self, session: Session) -> bool:
        return session.epoch != self.epoch or session.place < self.place

    def _check_epoch(self, session: Session) -> None:
        """A client's places mean nothing in the epoch that the hub has begun meanwhile."""
        if session.epoch != self.epoch:
            raise EpochEnded

    async def _next_epoch(self, before: str) -> None:
        """Wait until the hub has read what stands in the next one."""
        if self.epoch == before:
            await self._has_begun.wait()

    async def _obey(self, client: Client, command: Subscribe | Unsubscribe) -> None:
        session = client.session
        if isinstance(command, Unsubscribe):
            session.end(command.watch)
        elif command.since is None:
            await self._snapshot(client, command.id, command.watch)
            session.begin(command.watch, session.place)
        else:
            session.begin(command.watch, await self._resume(client, command))

    async def _resume(self, client: Client, command: Subscribe) -> int:
        """Send what matches after the cursor; returns the place after which all is told then."""
        session = client.session
        try:
            since = await self._reached(client, command.since or "")
            if since is None:
                await self._gap(client, command.id, command.watch)
                return session.place
            await self._replay(client, set(command.watch), since, session.place, again=False)
        except Trimmed:
            await self._catch_up(client)
            await self._gap(client, command.id, command.watch)
            return session.place
        self._counts["resumes", ""] += 1
        client.write(messages.resumed(command.id, cursor(session.epoch, session.place)))
        return since

    async def _reached(self, client: Client, since: str) -> int | None:
        """The place that a cursor names, once the client is there; None where there is none.

        Another process, which the client heard it from, may be ahead of this one.
        """
        session = client.session
        place = place_in(session.epoch, since)
        if place is None or place <= session.place:
            return place
        if not await self._log.read(place - 1, place):
            return None
        while self.place < place and session.epoch == self.epoch:
            self._news = self._news or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)
        await self._catch_up(client)
        return place_in(session.epoch, since)

    async def _catch_up(self, client: Client) -> None:
        """Send what matches up to where the hub is by now; ends without having awaited since."""
        session = client.session
        while self._is_behind(session):
            if session.epoch != self.epoch:
                session.move(self.epoch, self.place)
                if session.watch:
                    await self._gap(client, None, session.watch)
                continue
            upto = self.place
            try:
                if session.watch:
                    await self._replay(client, session.watch.keys(), session.place, upto)
                session.place = upto
            except Trimmed:
                session.move(self.epoch, self.place)
                await self._gap(client, None, session.watch)

    async def _replay(
        self, client: Client, watch: Set[str], after: int, upto: int, *, again: bool = True
    ) -> None:
        """Send the matching entries in (after, upto], paced by the socket.

        Not `again`: what a pattern that the client watches already brought it is left out.
        """
        while after < upto:
            self._check_epoch(client.session)
            entries, after = await self._matching(watch, after, upto)
            frames = [
                entry.frame for entry in entries if again or not client.session.was_told(entry)
            ]
            for write in _joined(frames):
                client.write(write)
                await client.drained()

    async def _matching(
        self, watch: Set[str], after: int, upto: int
    ) -> tuple[Sequence[Entry], int]:
        """Some of them, and the place up to which these are all: from memory, or from the log."""
        if after >= self._recent.floor:
            found, reached = self._recent.matching(watch, after, upto, REPLAYED)
            if reached < upto:
                await self._line.turn()  # nothing else lets others go on
            return found, reached
        if not (entries := await self._log.read(after, upto)):
            return (), upto
        matching = [entry for entry in entries if not watch.isdisjoint(entry.patterns)]
        return matching, entries[-1].place

    async def _gap(self, client: Client, id_: str | None, patterns: Iterable[str]) -> None:
        self._counts["gaps", ""] += 1
        client.write(messages.gap(id_, cursor(client.session.epoch, client.session.place)))
        await self._snapshot(client, id_, patterns)

    async def _snapshot(self, client: Client, id_: str | None, patterns: Iterable[str]) -> None:
        """Send what stands at the client's place, which must be the hub's at the call."""
        self._counts["snapshots", ""] += 1
        session = client.session
        newest = self.view.matching(patterns)
        told_in_full = single_executions(patterns)
        payloads: list[bytes] = []
        for entry in newest:
            if not told_in_full or told_in_full.isdisjoint(entry.patterns):
                payloads.append(entry.payload)
            else:
                self._check_epoch(session)
                payloads += await self._steps(entry, session.place)
        origin, own = (cursor(session.epoch, place) for place in (ORIGIN, session.place))
        for frame in messages.snapshot(id_, origin, own, payloads):
            client.write(frame)
            await client.drained()

    async def _steps(self, newest: Entry, upto: int) -> Iterator[bytes]:
        """All that is kept of an execution in its own order, so that the newest comes last."""
        kept = {entry.place: entry for entry in await self._log.history(newest.key, upto)}
        kept[newest.place] = newest  # it outlives the log's retention
        in_order = sorted(kept.values(), key=lambda entry: statuses.order(entry.event))
        return (entry.payload for entry in in_order)


def _joined(frames: Iterable[bytes]) -> Iterator[bytes]:
    """The frames, as many in one write as make up `MAX_WRITE_BYTES`."""
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        waiting.append(frame)
        size += len(frame)
        if size >= MAX_WRITE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
