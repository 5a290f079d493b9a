"""What the pipeline and the hub ask of the outside, and what they are promised."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from consumer.core.entries import Batch, Entry
from consumer.core.events import Event
from consumer.core.session import Session
from consumer.core.statuses import Verdict


class SourceUnavailable(Exception):
    """The queue did not answer as it should; asking again may help. The operator must look."""

    def __init__(self, reason: str, kind: str = "other") -> None:
        """`kind` is for who counts: `throttled`, `credentials`, `network`, `timeout`, `server`."""
        super().__init__(reason)
        self.kind = kind


class LogUnavailable(Exception):
    """The log took nothing of what it was given; asking again may help. The operator must act."""


class LogUnusable(Exception):
    """The log cannot be opened, or gone on with. The operator must act."""


class Trimmed(Exception):
    """The log no longer reaches back to the place asked for."""


class EpochEnded(Exception):
    """The places asked by belong to an epoch that is over: begin again with `newest`."""


class Message(Struct, frozen=True, gc=False):
    """A message received from a queue and not yet deleted."""

    id: str
    body: str
    receipt_handle: str
    group: str | None
    """The message group of a FIFO queue."""
    receive_count: int
    sent_ms: int | None = None
    """When the queue took it, by the queue's clock, in ms since 1970."""
    trace: str | None = None
    """X-Ray's trace header, where its sender was traced."""


class Source(Protocol):
    """A queue that redelivers whatever is not deleted before its visibility timeout."""

    name: str

    async def receive(self) -> list[Message]:
        """Wait for messages; an empty list after a while without. Raises `SourceUnavailable`."""

    async def delete(self, messages: Sequence[Message]) -> None:
        """Acknowledge, soon; what fails is tried again. Waits while too much is pending."""

    async def release(self, messages: Sequence[Message]) -> None:
        """Make visible at once; what fails is visible after its visibility timeout."""


class StatusLog(Protocol):
    """Takes each event once, knows the newest of each key, and tells all that it took, in order.

    Places rise by one from 1. A place belongs to its epoch; a new epoch begins whenever the head
    cannot be proven to have survived. Whoever asks by a place then is told so, by `EpochEnded`.
    """

    @property
    def epoch(self) -> str:
        """What the places belong to that it is asked by. It changes while `newest` runs only."""

    @property
    def head(self) -> int:
        """The newest place that this process knows to be committed."""

    @property
    def away_s(self) -> float:
        """For how long it has not answered; 0 while it does."""

    async def append(self, events: Sequence[Event]) -> list[Verdict]:
        """Compare, store and publish as one atomic step; returns after the commit.

        A confirmation of source `reconcile` is not remembered: it was in no queue that could
        deliver it again, and there is one for every instance at every sweep.

        Raises `LogUnavailable`, having taken nothing.
        """

    async def newest(self) -> tuple[int, list[Entry]]:
        """The newest entry of every key, oldest place first, and the place as of which it is.

        From its return on, places are those of the epoch that this is of.
        """

    def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        """Every entry after a place, for ever: first those already there, then as they commit.

        Waits while the log does not answer. Raises `Trimmed` where the log does not reach back
        that far, and `EpochEnded`.
        """

    async def read(self, after: int, upto: int) -> list[Entry]:
        """The next entries after a place, at most up to another; some at a time, none at the end.

        Raises `Trimmed` where the log does not reach back that far, and `EpochEnded`.
        """

    async def history(self, key: str, upto: int) -> list[Entry]:
        """All kept entries of a key up to a place, oldest place first. Raises `EpochEnded`."""

    async def prune(self) -> int:
        """Drop what is past retention; returns the time in ms before which ended keys fade out."""

    async def lead(self, work: Callable[["StatusLog"], Awaitable[None]]) -> None:
        """Do what only one process may do at a time, while it is this one; for ever.

        `work` is given a log to append to, which takes nothing any more once another process
        leads; then it is cancelled. Raises what `work` raises.
        """


class Client(Protocol):
    """The hub's side of one connection."""

    session: Session

    def deliver(self, batch: Batch) -> bool:
        """Write what is due, or put it in line while the socket is full; whether it was written."""

    def write(self, frame: bytes) -> None:
        """Write a frame now, whatever is in line."""

    async def drained(self) -> None:
        """Wait until the socket takes more. Raises `ConnectionError` once it is closed."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close, saying why."""
