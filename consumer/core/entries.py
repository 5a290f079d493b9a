"""Entries: events in the log, each at its place, ready to be sent. Pure.

A cursor names a place in one epoch of the log: `9f3c-57`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from consumer.core import watch
from consumer.core.events import Event, decode_stored, encode

_OP_TEXT_FIN: Final = 0x81  # RFC 6455, section 5.2: FIN and opcode 1
_NO_INSTANCE: Final = b'"instance_id":null'  # looked for first: few are worth reading again


class Entry(Struct, frozen=True, gc=False):
    """An event that the log has committed."""

    place: int
    key: str
    late: bool
    payload: bytes
    """The event's JSON, as clients get it."""
    event: Event
    patterns: tuple[str, ...]
    """Every watch pattern that it matches."""
    epoch: str
    """What its place belongs to."""

    @property
    def frame(self) -> bytes:
        """Its `status` frame, WebSocket header included: the same bytes for every client.

        Made when it is asked for: a `Batch` keeps it for all it goes to, and what nobody watches,
        or only stands in the view, needs none (560 B beside 430 B of payload).
        """
        return text_frame(
            b'{"op":"status","cursor":"%b-%d","event":%b%b}'
            % (
                self.epoch.encode(),
                self.place,
                self.payload,
                b',"late":true' if self.late else b"",
            )
        )

    def told_by(self, late: "Entry") -> "Entry":
        """This entry, with the instance that a late one of its key tells of, if it had none.

        For snapshots: it is not sent again.
        """
        if self.event.instance_id is not None or late.event.instance_id is None:
            return self
        event = msgspec.structs.replace(self.event, instance_id=late.event.instance_id)
        return msgspec.structs.replace(
            self, event=event, payload=encode(event), patterns=watch.matching(event, self.key)
        )


class Batch:
    """Entries that are due at the same time for all who watch the same: encoded and joined once."""

    __slots__ = ("each", "entries", "frames")

    def __init__(self, entries: Sequence[Entry]) -> None:
        """In rising order of place."""
        self.entries = entries
        self.each = [entry.frame for entry in entries]
        self.frames = b"".join(self.each)


def stored(epoch: str, place: int, payload: bytes, *, late: bool) -> Entry:
    """An entry read back from what a log stores."""
    return committed(epoch, place, decode_stored(payload), payload, late=late)


def committed(epoch: str, place: int, event: Event, payload: bytes, *, late: bool) -> Entry:
    """The entry of an event and its JSON."""
    key = event.key
    return Entry(place, key, late, payload, event, watch.matching(event, key), epoch)


def told_late(newest: bytes, late: Entry) -> bytes:
    """The JSON of a key's newest event, after a late entry of the key; the same object where that
    tells nothing new.

    Whether or not the key's standing knew the instance (a confirmation may have told it), what
    stands has none: then the late entry tells it, in the log as in the view.
    """
    if _NO_INSTANCE not in newest:
        return newest
    before = stored(late.epoch, 0, newest, late=False)
    return newest if (told := before.told_by(late)) is before else told.payload


def cursor(epoch: str, place: int) -> str:
    """The name of a place in the log."""
    return f"{epoch}-{place}"


def place_in(epoch: str, since: str) -> int | None:
    """The place that a cursor names, or None where it belongs to another epoch (or is none)."""
    its_epoch, _, place = since.rpartition("-")
    if its_epoch != epoch or not (place.isascii() and place.isdigit() and len(place) < 19):
        return None
    return int(place)


def text_frame(payload: bytes) -> bytes:
    """A server's text frame: final, unmasked, uncompressed (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        header = bytes((_OP_TEXT_FIN, size))
    elif size < 65_536:
        header = bytes((_OP_TEXT_FIN, 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((_OP_TEXT_FIN, 127)) + size.to_bytes(8, "big")
    return header + payload


def text_of(frame: bytes) -> bytes:
    """The payload of such a frame, for who is given messages and frames them by itself."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def json_frame(message: object) -> bytes:
    """A text frame with a message in it."""
    return text_frame(msgspec.json.encode(message))
