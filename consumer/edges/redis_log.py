"""The status log in Redis or Valkey: any number of processes, any of which may die.

A batch is judged here, by the rule that all logs share, and taken by one script that compares,
stores, publishes and trims (`redis_scripts/append.lua`). Everybody follows one stream of entries
from a place in it, so a lost connection replays and does not lose.

The server may lose what it has acknowledged. A head is proven by the lineage that the server had
when it was written; each script looks at it, and where it is another, a new epoch begins.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from consumer.around_log import AroundLog
from consumer.core import entries
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.edges.redis_draft import Draft, Knowledge
from consumer.edges.redis_server import RedisServer, Script, token
from consumer.ports import EpochEnded, LogUnavailable, LogUnusable, StatusLog, Trimmed

log = logging.getLogger(__name__)

SCHEMA: Final = b"1"
READ_ENTRIES: Final = 100  # × ~600 B = 60 kB, a chunk of a replay; × 16 kB = 1.6 MB at the most
FOLLOWED_ENTRIES: Final = 500
MAX_GROUP: Final = 500  # events in one script: × ~10 µs = 5 ms, in which the server serves no other
MAX_TRIES: Final = 20  # of a batch whose keys others write at the same moment
HISTORY: Final = 5_000  # entries of one execution: a run of a machine has some ten
SCANNED: Final = 1_000  # keys at once
PRUNED: Final = 1_000  # at once; the server serves no other meanwhile
LEASE_MS: Final = 15_000  # after its end at the latest another leads
RETRY_S: Final = 0.5  # while the server does not answer
COMPLAINT_S: Final = 60.0  # between two log lines about that


class Waiting(NamedTuple):
    """A batch that is to be appended."""

    batch: Sequence[Event]
    fence: bytes
    verdicts: asyncio.Future[list[Verdict]]


class RedisLog:
    """A `StatusLog`; see `consumer.ports` for what it promises."""

    epoch: str

    def __init__(
        self,
        server: RedisServer,
        *,
        retention_s: float,
        retention_events: int,
        now_ms: Callable[[], int],
        replicas: int = 0,
        wait_ms: int = 1_000,
        rest_s: float = 0.0,
    ) -> None:
        """`replicas`: how many must have an entry before it counts as committed, and `wait_ms` how
        long that may take. `rest_s`: from one read that brought something to the next.
        """
        self.head = 0
        self._server = server
        self._retention_ms = round(retention_s * 1000)
        self._retention_events = retention_events
        # What may be too much: an append trims by blocks, not at each entry.
        self._slack = max(1_000, retention_events // 10)
        self._now_ms = now_ms
        self._replicas = replicas
        self._wait_ms = wait_ms
        self._rest_s = rest_s
        self._knowledge = Knowledge()
        self._present = b""  # the server's epoch, by which is written
        self._waiting: deque[Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._away_since_s: float | None = None
        self._complained_s = -COMPLAINT_S

    async def open(self) -> None:
        """Find the log, or begin it. Raises `LogUnusable`."""
        try:
            self.head = await self._find_epoch()
        except LogUnavailable as error:
            await self._server.close()
            raise LogUnusable(str(error)) from error
        self.epoch = self._present.decode()

    async def close(self) -> None:
        """Finish what was given, then hang up."""
        if self._writing is not None:
            await self._writing
        await self._server.close()

    @property
    def away_s(self) -> float:
        """See `StatusLog.away_s`."""
        return 0.0 if self._away_since_s is None else time.monotonic() - self._away_since_s

    async def append(self, batch: Sequence[Event], fence: bytes = b"") -> list[Verdict]:
        """See `StatusLog.append`. With a fence, refused once another process leads."""
        waiting = Waiting(batch, fence, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await waiting.verdicts

    async def newest(self) -> tuple[int, list[Entry]]:
        """See `StatusLog.newest`."""
        while True:
            before = await self._find_epoch()
            epoch = self._present.decode()
            found = await self._scan(epoch)
            try:
                head = await self._bring_up(epoch, before, found)
            except (EpochEnded, Trimmed):
                continue  # much has happened meanwhile
            self.head = max(head, self.head) if self.epoch == epoch else head
            self.epoch = epoch
            return head, sorted(found.values(), key=lambda entry: entry.place)

    async def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        """See `StatusLog.changes`."""
        epoch = self.epoch
        is_sure = False  # that nothing stands after `after` in this epoch
        while True:
            try:
                if is_sure:
                    found = await self._news(epoch, after)
                else:
                    found = await self._read(epoch, after, b"+", FOLLOWED_ENTRIES)
            except LogUnavailable as error:
                self._complain(error)
                is_sure = False
                await asyncio.sleep(RETRY_S)
                continue
            is_sure = bool(found) if is_sure else not found
            if found:
                after = found[-1].place
                self.head = max(self.head, after)
                yield found
                if self._rest_s:
                    await asyncio.sleep(self._rest_s)

    async def read(self, after: int, upto: int) -> list[Entry]:
        """See `StatusLog.read`."""
        return await self._read(self.epoch, after, upto, READ_ENTRIES)

    async def history(self, key: str, upto: int) -> list[Entry]:
        """See `StatusLog.history`."""
        epoch = self.epoch
        _, found = _checked(await self._run(_HISTORY, epoch, key, upto, HISTORY))
        return [_entry(epoch, *each) for each in reversed(found)]

    async def prune(self) -> int:
        """See `StatusLog.prune`."""
        horizon_ms = self._now_ms() - self._retention_ms
        more = 1
        while more:
            answer = await self._run(
                _PRUNE, self._present, horizon_ms, self._retention_events, PRUNED
            )
            if answer[0] == b"epoch":
                await self._find_epoch()
            else:
                more = answer[1]
        return horizon_ms

    async def lead(self, work: Callable[[StatusLog], Awaitable[None]]) -> None:
        """See `StatusLog.lead`."""
        me = token()
        while True:
            fence = await self._become_leader(me)
            log.info("leading", extra={"fence": int(fence)})
            task = asyncio.ensure_future(work(FencedLog(self, fence)))
            try:
                await self._stay_leader(me, task)
            finally:
                task.cancel()
                await asyncio.wait({task})
                with contextlib.suppress(LogUnavailable):
                    await self._run(_LEASE, me, 0)
            if not task.cancelled():
                task.result()
            log.warning("another process leads now")

    # What is written.

    async def _write(self) -> None:
        """Append what waits, as much at once as may be, until nothing does."""
        try:
            while self._waiting:
                group = [self._waiting.popleft()]
                size = len(group[0].batch)
                while (
                    self._waiting
                    and self._waiting[0].fence == group[0].fence
                    and size + len(self._waiting[0].batch) <= MAX_GROUP
                ):
                    group.append(self._waiting.popleft())
                    size += len(group[-1].batch)
                await self._commit(group)
        finally:
            self._writing = None

    async def _commit(self, group: Sequence[Waiting]) -> None:
        batch = [event for waiting in group for event in waiting.batch]
        try:
            verdicts = await self._take(batch, group[0].fence)
        except Exception as error:  # handed to those who wait, who try again or end the process
            for waiting in group:
                if not waiting.verdicts.done():
                    waiting.verdicts.set_exception(error)
            return
        for waiting in group:
            own, verdicts = verdicts[: len(waiting.batch)], verdicts[len(waiting.batch) :]
            if not waiting.verdicts.done():
                waiting.verdicts.set_result(own)

    async def _take(self, batch: Sequence[Event], fence: bytes) -> list[Verdict]:
        """Have the server take a batch. Raises `LogUnavailable`: it may have, or not; given again,
        what it took is a repeat.
        """
        seen: set[str] = set()
        for _ in range(MAX_TRIES):
            # Again where all was forgotten meanwhile, for another epoch.
            while missing := self._knowledge.missing(batch):
                await self._look(missing)
            now_ms = self._now_ms()
            draft = Draft(
                self._knowledge, seen, oldest_ms=now_ms - self._retention_ms, now_ms=now_ms
            )
            draft.judge(batch)
            answer = await self._append(draft, fence)
            if answer[0] == b"taken":
                draft.taken(b"%d" % answer[2])
                self._knowledge.shrink()
                self.head = max(self.head, answer[1])
                return draft.verdicts
            if answer[0] == b"epoch":
                await self._find_epoch()
            elif answer[0] == b"fenced":
                raise LogUnavailable("another process leads")
            else:
                self._knowledge.forget(key.decode() for key in answer[1])
                seen.update(identity.decode() for identity in answer[2])
        raise LogUnavailable("others write the same keys all the time")

    async def _append(self, draft: Draft, fence: bytes) -> Any:
        changed, *values = draft.values()
        given = (self._present, fence, self._retention_events, self._slack)
        try:
            if not self._replicas:
                return await self._run(_APPEND, *given, changed, *values)
            # Always written to: of a batch that was taken before, and whose answer was lost or did
            # not find enough replicas, nothing else would be waited for.
            answer, count = await self._answered(
                self._server.run_and_wait(
                    _APPEND, self._replicas, self._wait_ms, *given, 1, *values
                )
            )
        except LogUnavailable:
            self._knowledge.forget_everything()  # what was written, if anything, is not known
            raise
        if answer[0] == b"taken" and count < self._replicas:
            self._knowledge.forget_everything()
            raise LogUnavailable(f"{count} of {self._replicas} replicas have it")
        return answer

    async def _look(self, keys: Sequence[str]) -> None:
        epoch = self._present
        standings, newest = await self._run(_LOOK, *keys)
        if self._present != epoch:
            return  # revisions of one epoch mean nothing in another
        for key, standing, its_newest in zip(keys, standings, newest, strict=True):
            self._knowledge.learn(key, standing, its_newest)

    async def _find_epoch(self) -> int:
        """Learn the server's epoch, beginning a new one if need be; returns its head."""
        epoch, head, is_new, schema = await self._run(_EPOCH, token(), SCHEMA)
        if schema != SCHEMA:
            raise LogUnusable(
                f"the log has schema {schema.decode()}, this release reads {SCHEMA.decode()}; "
                "start the release that wrote it, or choose another name for a new log"
            )
        if epoch != self._present:
            found = {"epoch": epoch.decode(), "head": head}
            if is_new or self._present:
                log.warning("a new epoch: nothing proves the log's head", extra=found)
            else:
                log.info("the log's epoch", extra=found)
            self._present = epoch
            self._knowledge.forget_everything()
        return int(head)

    # What is read.

    async def _read(self, epoch: str, after: int, upto: int | bytes, count: int) -> list[Entry]:
        _, found = _checked(await self._run(_READ, epoch, after, upto, count))
        read = [_entry(epoch, *each) for each in found]
        places = [entry.place for entry in read]
        if places != list(range(after + 1, after + 1 + len(places))):
            raise LogUnavailable(f"the stream has a hole after place {after}")
        return read

    async def _news(self, epoch: str, after: int) -> list[Entry]:
        """Entries as they come; none after a while without, to look whether the epoch goes on."""
        news = await self._answered(self._server.wait_for_news(f"{after}-0", FOLLOWED_ENTRIES))
        found: list[Entry] = []
        for id_, fields in news:
            if fields[b"epoch"] != epoch.encode() or _place(id_) != after + 1:
                return found  # the next look says what has happened
            found.append(_entry(epoch, id_, fields))
            after += 1
        return found

    async def _scan(self, epoch: str) -> dict[str, Entry]:
        """The newest of every key, each as of some moment during this."""
        found: dict[str, Entry] = {}
        cursor = 0
        while True:
            cursor, some = await self._answered(self._server.scan(cursor, SCANNED))
            for key, newest in some.items():
                place, _, payload = newest.partition(b" ")
                found[key.decode()] = entries.stored(epoch, int(place), payload, late=False)
            if not cursor:
                return found

    async def _bring_up(self, epoch: str, after: int, found: dict[str, Entry]) -> int:
        """Bring what was scanned to one place, which is returned."""
        upto = await self._find_epoch()
        if self._present.decode() != epoch:
            raise EpochEnded
        while after < upto:
            some = await self._read(epoch, after, upto, FOLLOWED_ENTRIES)
            if not some:
                raise LogUnavailable(f"the stream ends at place {after}, before its head")
            for entry in some:
                before = found.get(entry.key)
                if not entry.late:
                    found[entry.key] = entry
                elif before is not None:
                    found[entry.key] = before.told_by(entry)
                after = entry.place
        return upto

    # Who leads.

    async def _become_leader(self, me: str) -> bytes:
        while True:
            try:
                fence, wait_ms = await self._run(_LEASE, me, LEASE_MS)
            except LogUnavailable as error:
                self._complain(error)
                wait_ms = 1_000 * RETRY_S
            else:
                if fence:
                    return bytes(fence)
            await asyncio.sleep(wait_ms / 1_000)

    async def _stay_leader(self, me: str, task: asyncio.Future[None]) -> None:
        """Until the work ends, or somebody else may lead."""
        sure_until_s = time.monotonic() + LEASE_MS / 1_000
        while True:
            asked_s = time.monotonic()
            await asyncio.wait({task}, timeout=min(LEASE_MS / 3_000, sure_until_s - asked_s))
            asked_s = time.monotonic()
            if task.done() or asked_s >= sure_until_s:
                return
            with contextlib.suppress(LogUnavailable):
                fence, _ = await self._run(_LEASE, me, LEASE_MS)
                if not fence:
                    return
                sure_until_s = asked_s + LEASE_MS / 1_000

    # Whether it is there.

    async def _run(self, script: Script, *values: Any) -> Any:
        return await self._answered(self._server.run(script, *values))

    async def _answered(self, question: Awaitable[Any]) -> Any:
        """The answer; and take note of whether there is one."""
        try:
            answer = await question
        except LogUnavailable:
            if self._away_since_s is None:
                self._away_since_s = time.monotonic()
            raise
        self._away_since_s = None
        return answer

    def _complain(self, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s >= COMPLAINT_S:
            self._complained_s = now_s
            log.warning("the log does not answer; trying again", extra={"reason": str(error)})


class FencedLog(AroundLog):
    """The log for who leads: it takes nothing from one who no longer does."""

    def __init__(self, status_log: RedisLog, fence: bytes) -> None:
        super().__init__(status_log)
        self._append = partial(status_log.append, fence=fence)

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        """See `StatusLog.append`."""
        return await self._append(batch)


_APPEND: Final = Script("append")
_EPOCH: Final = Script("epoch")
_HISTORY: Final = Script("history")
_LEASE: Final = Script("lease")
_LOOK: Final = Script("look")
_PRUNE: Final = Script("prune")
_READ: Final = Script("read")


def _checked(answer: Any) -> Any:
    """The answer of a script that reads. Raises `EpochEnded`, `Trimmed`."""
    if answer[0] == b"epoch":
        raise EpochEnded
    if answer[0] == b"trimmed":
        raise Trimmed(f"the log begins after place {answer[1]}")
    return answer


def _entry(epoch: str, id_: bytes, fields: Any) -> Entry:
    """An entry of the stream, as a script or a read tells it."""
    if not isinstance(fields, dict):
        fields = dict(zip(fields[::2], fields[1::2], strict=True))
    return entries.stored(epoch, _place(id_), fields[b"event"], late=fields[b"late"] == b"1")


def _place(id_: bytes) -> int:
    return int(id_.partition(b"-")[0])
