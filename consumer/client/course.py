"""A stream over many connections: where it stands, and what the end of one means. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from consumer.client import backoff, claims
from consumer.client.dialogue import Dialogue, Seen
from consumer.client.errors import (
    Forbidden,
    Misunderstood,
    RequestRefused,
    TokenRefused,
    WrongAddress,
)

DRAINING: Final = 1012
MALFORMED: Final = 4400
TOKEN: Final = 4401
FORBIDDEN: Final = 4403
RETURNS: Final = {
    DRAINING: "the server is restarting",
    1013: "the server is full",
    4408: "this client was too slow",
    4429: "this client said too much",
}
"""After which one comes back by the contract; and after any other: the connection is lost."""
OF_STATUS: Final = {401: TOKEN, 403: FORBIDDEN}
"""What a refused handshake means, from a server that lacks `close_codes`."""
STATUSES: Final = range(100, 1_000)
MAY_PASS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of who is there and cannot now. Any other will be the same next time (RFC 9110, 15)."""
STEADY_S: Final = 10.0  # a server that accepts and then refuses still meets a growing wait
MAX_REFUSALS: Final = 5  # of new tokens in a row: with their waits, some ten seconds
RENEW_AFTER: Final = 0.75  # of what is left of it
RENEW_AGAIN_S: Final = 10.0  # where none could be had


@dataclass(frozen=True, slots=True)
class Return:
    """Come back after so many seconds, with another token or the same."""

    why: str
    wait_s: float
    needs_token: bool = False


class Course:
    """What outlives a connection."""

    def __init__(
        self,
        watch: Sequence[str] | None,
        since: str | None,
        *,
        can_renew: bool,
        chance: Callable[[], float],
    ) -> None:
        """`can_renew`: another token can be had. `chance`: a number from 0 to 1."""
        self.cursor = since
        self._watch = watch
        self._watched: tuple[str, ...] | None = None
        self._can_renew = can_renew
        self._chance = chance
        self._attempt = 0
        self._refusals = 0
        self._was_there = False
        self._seen = Seen()

    def begin(self, token: str | None, now_s: float, clock_s: float) -> Dialogue:
        """A new connection; `clock_s` is seconds since 1970, by which tokens end."""
        watch = self._wanted(token)
        if self._watched not in (None, watch):
            self.cursor = None  # it is a place in what is watched
        self._watched = watch
        renew_at_s = self._renew_at_s(token, now_s, clock_s)
        return Dialogue(watch, self.cursor, now_s, renew_at_s=renew_at_s, seen=self._seen)

    def show(self, dialogue: Dialogue, token: str | None, now_s: float, clock_s: float) -> None:
        """Use another token from here on, or try again later where none could be had."""
        if token is None:
            dialogue.renew(None, now_s + RENEW_AGAIN_S)
        elif self._wanted(token) != self._watched:
            dialogue.leave("the new token is for something else")
        else:
            dialogue.renew(token, self._renew_at_s(token, now_s, clock_s))

    def after(self, dialogue: Dialogue, code: int | None, reason: str, now_s: float) -> Return:
        """What the end of a connection means; the code is None where there never was one, or the
        HTTP status that was said instead.

        Raises `Stopped`.
        """
        self.cursor = dialogue.cursor
        if dialogue.is_welcomed:
            self._refusals = 0
            self._was_there = True
        if dialogue.live_since_s is not None and now_s - dialogue.live_since_s >= STEADY_S:
            self._attempt = 0
        if dialogue.refused is not None:
            error, message = dialogue.refused
            raise RequestRefused(message, error)
        if code is not None and code in STATUSES:
            code = self._of_status(code)
        else:
            code = dialogue.told_code or code
        if code == MALFORMED:
            raise Misunderstood(reason or "the server cannot read this client", code)
        if code == FORBIDDEN:
            raise Forbidden(reason or "watching this is not allowed", code)
        if code == TOKEN:
            return self._without_token(dialogue, reason or "the token was refused")
        return Return(self._why(dialogue, code, reason), self._wait_s(dialogue))

    def _of_status(self, status: int) -> int | None:
        """The code that stands for an HTTP status. Where a stream was before, whatever is said
        instead will pass: a proxy may know the way no more while a server is renewed.
        """
        if status in OF_STATUS:
            return OF_STATUS[status]
        if status in MAY_PASS or self._was_there:
            return None
        raise WrongAddress(f"no statuses at this address (HTTP {status})", status)

    def _renew_at_s(self, token: str | None, now_s: float, clock_s: float) -> float | None:
        """When a token should be renewed, by the clock of `now_s`; None for never."""
        ends_s = None if token is None else claims.expires_s(token)
        if ends_s is None or not self._can_renew:
            return None
        return now_s + RENEW_AFTER * max(0.0, ends_s - clock_s)

    def _wanted(self, token: str | None) -> tuple[str, ...]:
        return claims.watch(token) if self._watch is None else tuple(self._watch)

    def _without_token(self, dialogue: Dialogue, reason: str) -> Return:
        self._refusals += 1
        if not self._can_renew or self._refusals > MAX_REFUSALS:
            raise TokenRefused(reason, TOKEN)
        wait_s = self._wait_s(dialogue) if dialogue.live_since_s is None else 0.0
        return Return(reason, wait_s, needs_token=True)

    def _wait_s(self, dialogue: Dialogue) -> float:
        if dialogue.retry_s is not None:
            return dialogue.retry_s
        self._attempt += 1
        return backoff.wait_s(self._attempt - 1, self._chance())

    @staticmethod
    def _why(dialogue: Dialogue, code: int | None, reason: str) -> str:
        if dialogue.over is not None:
            return dialogue.over
        if code is not None and (known := RETURNS.get(code)) is not None:
            return known
        lost = "no connection" if code is None else "the connection was lost"
        return f"{lost} ({reason})" if reason else lost
