"""The stream for asyncio: `async for item in StatusStream(url)`."""

import asyncio
import inspect
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from consumer.client import dialling
from consumer.client.dialogue import Dialogue
from consumer.client.items import Item, Lost

log: Final = logging.getLogger(__name__)

Token = str | Callable[[], str | Awaitable[str]]


class StatusStream:
    """Statuses as they happen, for as long as it is iterated; it comes back by itself.

    It ends by an exception only: a `Stopped` where trying again would end the same way, and
    whatever `token` raises when one is needed. What is iterated too slowly is spared, as `Skipped`.
    """

    def __init__(
        self,
        url: str,
        *,
        watch: Sequence[str] | None = None,
        token: Token | None = None,
        since: str | None = None,
        **options: Any,
    ) -> None:
        """`watch`: patterns; without, all that the token allows. `token`: one, or what returns (or
        awaits) another whenever one is needed. `since`: a `cursor` of an earlier stream of the same
        patterns. The rest goes to `websockets.asyncio.client.connect`, such as `ssl`.

        Raises `ValueError` for an address that is none, or carries what does not belong there.
        """
        self._url = dialling.check(url)
        self._token = token
        self._options = options
        self._course = dialling.course(watch, since, token, random.random)
        self._dialogue: Dialogue | None = None
        self._items = self._run()

    @property
    def cursor(self) -> str | None:
        """Where another stream could go on; everything up to there was yielded, or is about to be.

        None before the first snapshot.
        """
        return self._course.cursor if self._dialogue is None else self._dialogue.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await anext(self._items)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; no more is yielded."""
        await self._items.aclose()

    async def _run(self) -> AsyncGenerator[Item, None]:
        """Connection after connection."""
        token = await self._another_token()
        while True:
            dialogue = self._course.begin(token, _now_s(), dialling.clock_s())
            self._dialogue = dialogue
            code: int | None = None
            reason = ""
            try:
                async with connect(self._url, **dialling.options(token, self._options)) as socket:
                    while dialogue.over is None:
                        items, token = await self._step(socket, dialogue, token)
                        for item in items:
                            yield item
                        dialogue.waits(_now_s())
            except ConnectionClosed as error:
                code, reason = dialling.ended(error)
            except (InvalidHandshake, OSError) as error:
                code, reason = dialling.failed(error)
            back = self._course.after(dialogue, code, reason, _now_s())
            yield Lost(back.why, back.wait_s)
            await asyncio.sleep(back.wait_s)
            if back.needs_token:
                token = await self._another_token()

    async def _step(
        self, socket: ClientConnection, dialogue: Dialogue, token: str | None
    ) -> tuple[list[Item], str | None]:
        """Wait for what comes next, or for when something is due; say what is to be said."""
        if dialogue.wants_token(_now_s()):
            token = await self._renew(dialogue, token)
            if dialogue.over is not None:
                return [], token
        for message in dialogue.outgoing():
            await socket.send(message)
        try:
            async with asyncio.timeout_at(dialogue.due_s):
                text = await socket.recv(decode=True)
        except TimeoutError:
            return dialogue.pass_time(_now_s()), token
        return dialogue.receive(text), token

    async def _renew(self, dialogue: Dialogue, token: str | None) -> str | None:
        """Show another token before this one ends; if none can be had now, later."""
        another: str | None = None
        try:
            another = await self._another_token()
        except Exception as error:  # whatever it is, the connection that stands is good
            log.warning("no new token yet", extra={"reason": type(error).__name__})
        self._course.show(dialogue, another, _now_s(), dialling.clock_s())
        return another or token

    async def _another_token(self) -> str | None:
        if self._token is None or isinstance(self._token, str):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token


def _now_s() -> float:
    return asyncio.get_running_loop().time()
