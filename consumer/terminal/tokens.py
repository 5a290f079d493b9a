"""Watch tokens: asked for when one is needed, and renewed before they end."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from msgspec import Struct

from consumer.terminal.addresses import checked
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.rest import RestApi, refusal

RENEW_AT: Final = 0.75  # of its life: 4 of 15 minutes are left to try again
SPARE_S: Final = 5.0  # of its life, too short to begin anything with
VARIABLE: Final = "STATUSWIRE_TOKEN"


class Granted(Struct, frozen=True):
    """A token and how to use it. Times are seconds since 1970; None where nobody says."""

    token: str
    stream_url: str | None
    taken_at_s: float
    ends_at_s: float | None

    def renew_at_s(self) -> float | None:
        """When to ask for the next one."""
        if self.ends_at_s is None:
            return None
        return self.taken_at_s + (self.ends_at_s - self.taken_at_s) * RENEW_AT

    def __repr__(self) -> str:
        return "Granted(…)"  # a token shows in no traceback


class Tokens(Protocol):
    """Where a command has its token from. `can_renew`: another one can be had."""

    can_renew: bool

    async def current(self) -> Granted | None:
        """One with some life left; None where none is needed. Raises `CannotGoOn`."""

    def refused(self, granted: Granted) -> None:
        """The server did not take it: the next is another. Raises `CannotGoOn` without one."""

    def no_use(self, reason: str) -> CannotGoOn:
        """What to say where the server takes none of them."""


class NoTokens:
    """A server that asks for none: the demo's."""

    can_renew = False

    async def current(self) -> Granted | None:
        return None

    def refused(self, granted: Granted) -> None:
        raise self.no_use("")

    def no_use(self, reason: str) -> CannotGoOn:
        del reason
        return CannotGoOn(
            "this server asks for a token",
            f"Name its REST API, and tokens are fetched: --stack, --rest-url. Or set {VARIABLE}.",
        )


class GivenToken:
    """The environment's, as it is."""

    can_renew = False

    def __init__(self, token: str, now_s: Callable[[], float] = time.time) -> None:
        self._granted = Granted(token, None, now_s(), None)

    async def current(self) -> Granted | None:
        return self._granted

    def refused(self, granted: Granted) -> None:
        raise self.no_use("")

    def no_use(self, reason: str) -> CannotGoOn:
        told = f": {reason}" if reason else ""
        return CannotGoOn(
            f"the token in {VARIABLE} was refused{told}",
            f"Get a new one: export {VARIABLE}=$(statuswire token). Without it, and with"
            " credentials for the REST API, tokens are fetched and renewed.",
        )


class FetchedTokens:
    """From POST /watch-tokens; all who ask share one."""

    can_renew = True

    def __init__(
        self, api: RestApi, watch: Sequence[str], now_s: Callable[[], float] = time.time
    ) -> None:
        self._api = api
        self._watch = list(watch)
        self._now_s = now_s
        self._granted: Granted | None = None
        self._one_at_a_time = asyncio.Lock()

    async def current(self) -> Granted | None:
        async with self._one_at_a_time:
            if self._granted is None or self._now_s() >= (self._granted.renew_at_s() or 0):
                self._granted = await self._renew(self._granted)
            return self._granted

    def refused(self, granted: Granted) -> None:
        if self._granted is granted:
            self._granted = None

    def no_use(self, reason: str) -> CannotGoOn:
        return CannotGoOn(
            f"the server refuses the tokens that the REST API gives: {reason}",
            "Are both of one stack? The consumer's STATUSWIRE_AUDIENCE is that stack's"
            " TokenAudience.",
        )

    async def _renew(self, last: Granted | None) -> Granted:
        try:
            return await self._fetch()
        except CannotGoOn:
            # The API may be back before the last one ends.
            if last is None or self._now_s() >= (last.ends_at_s or 0) - SPARE_S:
                raise
            return last

    async def _fetch(self) -> Granted:
        answer = await self._api.post("/watch-tokens", {"watch": self._watch})
        if not answer.is_ok:
            raise refusal(answer, "a watch token")
        return Granted(
            str(answer.body["token"]),
            checked(str(answer.body["url"]), "ws"),
            self._now_s(),
            datetime.fromisoformat(str(answer.body["expires"])).timestamp(),
        )


def given(environment: dict[str, str] | os._Environ[str] = os.environ) -> str | None:
    """The environment's token."""
    return environment.get(VARIABLE) or None
