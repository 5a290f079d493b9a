"""The websockets library's protocol, with the contract's close codes and a budget of frames."""

import logging
from collections.abc import Sequence
from typing import Final

from websockets.frames import CloseCode as LibraryCode
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from consumer.core import messages
from consumer.core.limits import Bucket, Limits
from consumer.core.messages import CloseCode

BURST_S: Final = 10.0  # of frames at once: a page that comes back subscribes to all it shows
# The contract has one code for what is malformed; RFC 6455, section 7.4.1, several.
_MALFORMED: Final = frozenset(
    {LibraryCode.PROTOCOL_ERROR, LibraryCode.INVALID_DATA, LibraryCode.MESSAGE_TOO_BIG}
)

# The library tells of every connection at INFO; we count them.
_log = logging.getLogger("consumer.websockets")
_log.setLevel(logging.ERROR)


class Wire(ServerProtocol):
    """Sans-I/O, and only there while it has something to do: it takes some 5 kB."""

    def __init__(self, limits: Limits, budget: Bucket | None, state: State) -> None:
        """`budget`: what is left of one, of a client that has spoken before."""
        super().__init__(state=state, max_size=limits.message_bytes, logger=_log)
        self.budget = budget or Bucket(limits.messages_per_s, limits.messages_per_s * BURST_S)
        self._limits = limits
        self._now_s = 0.0
        self._unparsed = 0  # bytes received since the handshake that are no whole frame yet
        self._pieces = 0  # of a message, so far

    def take(self, data: bytes, now_s: float) -> None:
        """Receive bytes, at a time of the loop's clock."""
        self._now_s = now_s
        if self.state is OPEN:
            self._unparsed += len(data)
        self.receive_data(data)

    def recv_frame(self, frame: Frame) -> None:
        """Here, where the library would answer pings, thousands of which fit into one read.

        What comes behind the first too many is not even parsed.
        """
        self._unparsed -= _bytes_of(frame)
        if not self.budget.take(self._now_s):
            self.fail(CloseCode.TOO_MANY, f"more than {self._limits.messages_per_s:g} frames/s")
        elif self._is_piece_too_many(frame):
            self.fail(CloseCode.MALFORMED, f"more than {self._limits.fragments} fragments")
        else:
            super().recv_frame(frame)

    def _is_piece_too_many(self, frame: Frame) -> bool:
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._pieces += 1
            if self._pieces > self._limits.fragments:
                return True
            if frame.fin:
                self._pieces = 0
        return False

    @property
    def is_at_rest(self) -> bool:
        """Whether another in its place would do as well: between two messages, nothing to say."""
        return (
            self.state is OPEN
            and not self._unparsed
            and self.current_size is None
            and not self.events
            and not self.writes
        )

    def fail(self, code: int, reason: str = "") -> None:
        if code == LibraryCode.MESSAGE_TOO_BIG:
            reason = f"larger than {self._limits.message_bytes} bytes"
        super().fail(CloseCode.MALFORMED if code in _MALFORMED else code, reason)

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Ours, where offered; a `bearer.…` beside it carries a token and is never selected."""
        ours = Subprotocol(messages.SUBPROTOCOL)
        return ours if ours in subprotocols else None

    @property
    def is_untouched(self) -> bool:
        """Nothing came behind the request. A client must wait for its answer (RFC 6455, 4.1)."""
        return not (self.events or self.reader.buffer or self.eof_sent)


def _bytes_of(frame: Frame) -> int:
    """A client's frame on the wire: its head, its mask and its payload (RFC 6455, section 5.2).

    One that writes its length longer than need be counts as too short, and so keeps its parser.
    """
    size = len(frame.data)
    return size + (6 if size < 126 else 8 if size < 65_536 else 14)
