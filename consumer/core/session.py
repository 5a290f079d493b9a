"""A session: what one client watches, how far it has been told, and what waits for it.

Pure: the hub offers entries, the edge takes bytes and says when the socket is full. A slow client
pays for itself: past a limit only the newest entry of each key is kept for it.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, cast

from msgspec import Struct, structs

from consumer.core import messages
from consumer.core.entries import Batch, Entry, cursor
from consumer.core.limits import Limits
from consumer.core.messages import BadRequest, Subscribe, TooMany, Unsubscribe

MAX_COMMANDS: Final = 100
MAX_WAITING_BYTES: Final = 1 << 20  # of all of them: ten times 400 ARNs of 160 characters
_STRING_BYTES: Final = 64  # of a string, besides its characters, and of its place in a list


class Tally(Struct):
    """Status frames that left as they came, entries that slow clients were only told of, and bytes
    of frames of any kind.
    """

    frames: int = 0
    skipped: int = 0
    bytes: int = 0

    def add(self, batch: Batch, clients: int) -> None:
        """A batch was written to so many clients."""
        self.frames += clients * len(batch.entries)
        self.bytes += clients * len(batch.frames)


class Session:
    """One client. `place`: every matching entry up to there was sent, or waits in the outbox."""

    __slots__ = (
        "_is_paused",
        "_is_shut",
        "_limits",
        "_outbox",
        "_waiting_bytes",
        "commands",
        "epoch",
        "is_clear",
        "is_live",
        "place",
        "tally",
        "watch",
    )

    def __init__(self, epoch: str, limits: Limits) -> None:
        self.watch: dict[str, int] = {}
        """Each pattern, and the place after which all that matches it has been told."""
        self.place = 0
        self.is_live = False
        self.is_clear = True
        """What is due may be written: the socket takes it, and nothing waits."""
        self._is_paused = False
        self._is_shut = False
        self.commands: deque[Subscribe | Unsubscribe] | None = None  # while none wait
        self._waiting_bytes = 0  # of the commands
        self.epoch = epoch
        self._limits = limits
        self.tally = Tally()
        """Where what goes out is counted; the hub gives all its clients the same one."""
        self._outbox: Outbox | None = None  # while nothing waits, as ever but for the slow

    def admit(self, request: Subscribe | Unsubscribe) -> None:
        """Queue a request; they are served one after another.

        Raises `BadRequest` for one watch too many, `TooMany` for requests that pile up.
        """
        waiting = self.commands or ()
        if len(waiting) >= MAX_COMMANDS:
            raise TooMany(f"more than {MAX_COMMANDS} requests wait to be served")
        size = _bytes_of(request)
        if self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise TooMany("too many patterns wait to be served")
        if isinstance(request, Subscribe):
            most = self._limits.watches
            if len(self._wanted().union(request.watch)) > most:
                raise BadRequest("too_many_watches", f"at most {most} patterns", request.id)
        if self.commands is None:
            self.commands = deque()
        self.commands.append(request)
        self._waiting_bytes += size

    def served(self) -> None:
        """The first of the requests has been served."""
        commands = cast("deque[Subscribe | Unsubscribe]", self.commands)
        self._waiting_bytes -= _bytes_of(commands.popleft())
        self.commands = commands or None

    def forget_cursor(self) -> None:
        """The request that is being served can resume no more: what it was told so far may have
        been a gap already, after which a snapshot comes.
        """
        if self.commands and isinstance(first := self.commands[0], Subscribe) and first.since:
            self._waiting_bytes -= len(first.since)
            self.commands[0] = structs.replace(first, since="")

    def _wanted(self) -> set[str]:
        """What is watched once the requests that wait have been served."""
        wanted = set(self.watch)
        for request in self.commands or ():
            if isinstance(request, Subscribe):
                wanted.update(request.watch)
            else:
                wanted.difference_update(request.watch)
        return wanted

    def move(self, epoch: str, place: int) -> None:
        """All that it watches is told from a place of another epoch on, once the client knows."""
        self.epoch = epoch
        self.place = place
        self.watch = dict.fromkeys(self.watch, place)

    def begin(self, patterns: Iterable[str], after: int) -> None:
        """All that matches these patterns is told from a place on."""
        for pattern in patterns:
            self.watch[pattern] = min(after, self.watch.get(pattern, after))

    def end(self, patterns: Iterable[str]) -> None:
        """These patterns are watched no longer."""
        for pattern in patterns:
            self.watch.pop(pattern, None)

    def told_of(self) -> set[str]:
        """Every pattern that the client is told of, or will be by requests that wait."""
        waiting = (each.watch for each in self.commands or () if isinstance(each, Subscribe))
        return set(self.watch).union(*waiting)

    def was_told(self, entry: Entry) -> bool:
        """Whether an entry up to the client's place went out already, by a pattern it watches."""
        return any(
            pattern in self.watch and entry.place > self.watch[pattern]
            for pattern in entry.patterns
        )

    @property
    def is_paused(self) -> bool:
        """Whether the socket is full."""
        return self._is_paused

    def pause(self) -> None:
        """The socket is full."""
        self._is_paused = True
        self.is_clear = False

    def go_on(self) -> bytes:
        """The socket takes more; returns what has waited, to be written at once."""
        self._is_paused = False
        waited = self._take()
        self.is_clear = not self._is_shut
        return waited

    def shut(self) -> None:
        """Nothing is sent any more."""
        self._is_shut = True
        self.is_clear = False
        self._outbox = None

    def put(self, batch: Batch) -> None:
        """Put in line what cannot be written now: only while the client is not clear.

        Only entries that match, in rising order of place.
        """
        if self._is_shut:
            return
        if self._outbox is None:
            self._outbox = Outbox(self._limits)
        for entry, frame in zip(batch.entries, batch.each, strict=True):
            self._outbox.put(entry, frame)

    def _take(self) -> bytes:
        """Everything that waits."""
        if self._outbox is None:
            return b""
        frames, skipped, first_place = self._outbox.content()
        self._outbox = None
        self.tally.frames += len(frames)
        self.tally.skipped += skipped
        if skipped:
            # Said first, and from where: a cursor must not promise what comes after it.
            notice = messages.skipped(skipped, cursor(self.epoch, first_place - 1))
            frames.insert(0, notice)
        return b"".join(frames)

    @property
    def is_idle(self) -> bool:
        """Nothing is pending: the client has been told everything up to the hub's place.

        One that watches nothing has been told nothing, and may be about to come back to where it
        was: it must not be given a later cursor.
        """
        return self.is_live and bool(self.watch) and self.is_clear

    @property
    def is_conflating(self) -> bool:
        """The client is behind its bound: only the newest of each key waits for it."""
        return self._outbox is not None and self._outbox.is_conflated

    @property
    def is_overrun(self) -> bool:
        """Even the newest per key is too much: the client must be closed as too slow."""
        outbox = self._outbox
        return (
            outbox is not None
            and outbox.is_conflated
            and outbox.size_bytes > self._limits.outbox_bytes
        )


def _bytes_of(request: Subscribe | Unsubscribe) -> int:
    since = request.since or "" if isinstance(request, Subscribe) else ""
    return len(since) + sum(_STRING_BYTES + len(pattern) for pattern in request.watch)


Waiting = tuple[Entry, bytes]
"""An entry and its frame: one for all whom it waits for."""


class Outbox:
    """Entries that wait for one client, in order of place; conflated past its bound."""

    __slots__ = ("_first_place", "_limits", "_newest", "_skipped", "_waiting", "size_bytes")

    def __init__(self, limits: Limits) -> None:
        self.size_bytes = 0
        self._limits = limits
        self._waiting: list[Waiting] = []
        self._newest: dict[str, Waiting] | None = None  # once conflated: by key, in order of place
        self._skipped = 0
        self._first_place = 0

    @property
    def is_conflated(self) -> bool:
        """Whether only the newest per key is kept, until it is emptied."""
        return self._newest is not None

    def put(self, entry: Entry, frame: bytes) -> None:
        """Add an entry, whose place is above all that wait."""
        self._first_place = self._first_place or entry.place
        if self._newest is not None:
            self._conflate(entry, frame, self._newest)
            return
        self._waiting.append((entry, frame))
        self.size_bytes += len(frame)
        limits = self._limits
        if len(self._waiting) > limits.outbox_events or self.size_bytes > limits.outbox_bytes:
            waiting, self._waiting, self.size_bytes = self._waiting, [], 0
            self._newest = {}
            for each in waiting:
                self._conflate(*each, self._newest)

    def content(self) -> tuple[list[bytes], int, int]:
        """The frames that wait, how many entries were skipped, the place of the first of all."""
        kept = self._waiting if self._newest is None else self._newest.values()
        return [frame for _, frame in kept], self._skipped, self._first_place

    def _conflate(self, entry: Entry, frame: bytes, newest: dict[str, Waiting]) -> None:
        if entry.late:  # not the newest of its key, whatever waits
            self._skipped += 1
            return
        older = newest.pop(entry.key, None)
        if older is not None:
            self._skipped += 1
            self.size_bytes -= len(older[1])
        newest[entry.key] = entry, frame
        self.size_bytes += len(frame)
