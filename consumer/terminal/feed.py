"""The stream of a place: the client's, with its address and its tokens, and its ends in words."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from consumer.client import (
    Forbidden,
    Item,
    StatusStream,
    Stopped,
    TokenRefused,
    WrongAddress,
)
from consumer.terminal.addresses import goes_by_proxy
from consumer.terminal.exits import CannotGoOn
from consumer.terminal.place import Place
from consumer.terminal.tokens import Granted, Tokens


async def feed(
    place: Place, patterns: Sequence[str], since: str | None
) -> AsyncGenerator[Item, None]:
    """Never ends by itself; to be closed. Raises `CannotGoOn` where trying again would not help."""
    tokens = place.tokens(patterns)
    granted = await tokens.current()
    url = place.addresses.stream_url or (granted.stream_url if granted else None)
    if url is None:
        raise CannotGoOn("the stream's address is not known", "Name it: --url, --stack.")
    token = granted.token if granted else None
    async with StatusStream(
        url,
        watch=list(patterns),
        token=_another(tokens, granted) if granted and tokens.can_renew else token,
        since=since,
        proxy=True if goes_by_proxy(url) else None,
    ) as stream:
        try:
            async for item in stream:
                yield item
        except Stopped as stopped:
            raise _explained(stopped, url, patterns, tokens) from stopped


def _another(tokens: Tokens, granted: Granted) -> Callable[[], Awaitable[str]]:
    """What the stream calls whenever it needs a token that it was not given before."""
    given: Granted | None = None

    async def another() -> str:
        nonlocal given
        if given is not None:
            tokens.refused(given)
        given = granted if given is None else await tokens.current() or granted
        return given.token

    return another


def _explained(stopped: Stopped, url: str, patterns: Sequence[str], tokens: Tokens) -> CannotGoOn:
    if isinstance(stopped, TokenRefused):
        return tokens.no_use(str(stopped))
    if isinstance(stopped, Forbidden):
        return CannotGoOn(
            f"watching {', '.join(patterns)} is not allowed: {stopped}",
            "Get a token that allows it: statuswire token --help.",
        )
    if isinstance(stopped, WrongAddress):
        return CannotGoOn(
            f"{url} answers with HTTP {stopped.code}, not with statuses",
            "Name the consumer's address, which ends in /v1/status: --url.",
        )
    return CannotGoOn(f"the server refuses: {stopped}", "docs/errors.md says what to do.")
