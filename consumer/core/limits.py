"""Limits: what one client, one address and all of them together may cost. Pure.

Each has a setting of its name, where its default's arithmetic stands.
"""

from typing import Final

from msgspec import Struct

MAX_WORKERS: Final = 64  # processes of one parent: more than a machine has cores for
# Of one token. A sum of 10,000 times after a machine's first million seconds is off by 0.6 µs at
# most, which at 5,000 per second is 0.003 of a token: the last of a burst must not fail for that.
_ROUNDING: Final = 0.01


class Limits(Struct, frozen=True, kw_only=True):
    """Counts, bytes, and rates per second; the defaults are those of `consumer.settings`."""

    connections: int = 20_000
    connections_per_address: int = 1_000
    half_open: int = 2_000
    handshake_s: float = 10.0
    handshakes_per_s: float = 5_000.0
    handshakes_per_s_per_address: float = 50.0
    watches: int = 400
    message_bytes: int = 64 * 1024
    messages_per_s: float = 100.0
    fragments: int = 64
    outbox_events: int = 256
    outbox_bytes: int = 1 << 20


class Bucket:
    """A token bucket: so much per second, and up to so much at once. Times in seconds."""

    __slots__ = ("_burst", "_full_at_s", "_per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._full_at_s = 0.0  # when nothing that was taken would be missing any more

    def take(self, now_s: float) -> bool:
        """Take one; False where none is left."""
        full_at_s = max(self._full_at_s, now_s) + 1 / self._per_s
        if (full_at_s - now_s) * self._per_s > self._burst + _ROUNDING:
            return False
        self._full_at_s = full_at_s
        return True

    def is_full(self, now_s: float) -> bool:
        """Whether forgetting it would make no difference."""
        return self._full_at_s <= now_s
