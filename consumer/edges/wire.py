"""The websockets library's protocol, with the contract's close codes and a budget of frames."""

import logging
from collections.abc import Sequence
from typing import Final

from websockets.frames import CloseCode as LibraryCode
from websockets.frames import Frame, Opcode
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
    """Sans-I/O. `now_s` is set before data is received."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(max_size=limits.message_bytes, logger=_log)
        self.now_s = 0.0
        self._limits = limits
        self._budget = Bucket(limits.messages_per_s, limits.messages_per_s * BURST_S)
        self._pieces = 0  # of a message, so far

    def recv_frame(self, frame: Frame) -> None:
        """Here, where the library would answer pings, thousands of which fit into one read.

        What comes behind the first too many is not even parsed.
        """
        if not self._budget.take(self.now_s):
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
