"""The stream for asyncio: `async for item in StatusStream(url)`."""

import asyncio
import inspect
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from consumer.client import dialling
from consumer.client.dialogue import Dialogue
from consumer.client.errors import Stopped
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
        self._held: str | None = None
        self._needs_token = True
        self._dial_at_s = 0.0
        self._socket: ClientConnection | None = None
        self._dialogue: Dialogue | None = None
        self._items: deque[Item] = deque()
        self._is_closed = False

    @property
    def cursor(self) -> str | None:
        """Where another stream could go on: everything up to there was yielded.

        None before the first snapshot.
        """
        return self._course.cursor if self._dialogue is None else self._dialogue.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._is_closed:
                raise StopAsyncIteration
            await self._go_on()
        return self._items.popleft()

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
        self._is_closed = True
        self._items.clear()
        await self._hang_up()

    async def _go_on(self) -> None:
        """Do what comes next: dial, or wait on the connection that stands. Can be cancelled."""
        if self._socket is None or self._dialogue is None:
            await asyncio.sleep(max(0.0, self._dial_at_s - _now_s()))
            await self._dial()
            return
        try:
            await self._step(self._socket, self._dialogue)
        except ConnectionClosed as error:
            self._end(self._dialogue, *dialling.ended(error))

    async def _dial(self) -> None:
        if self._needs_token:
            self._held = await self._another_token()
            self._needs_token = False
        dialogue = self._course.begin(self._held, _now_s(), dialling.clock_s())
        try:
            options = dialling.options(self._held, self._options)
            self._socket = await connect(self._url, **options)
        except (InvalidHandshake, ConnectionClosed, OSError) as error:
            self._end(dialogue, *dialling.failed(error))
        else:
            self._dialogue = dialogue

    async def _step(self, socket: ClientConnection, dialogue: Dialogue) -> None:
        """Say what is to be said; take what comes next, or see what is due."""
        dialogue.waits(_now_s())
        if dialogue.wants_token(_now_s()):
            await self._renew(dialogue)
        if dialogue.over is not None:
            await self._hang_up()
            self._end(dialogue, None, "")
            return
        for message in dialogue.outgoing():
            await socket.send(message)
        try:
            async with asyncio.timeout_at(dialogue.due_s):
                text = await socket.recv(decode=True)
        except TimeoutError:
            self._items += dialogue.pass_time(_now_s())
        else:
            self._items += dialogue.receive(text)

    async def _renew(self, dialogue: Dialogue) -> None:
        """Show another token before this one ends; if none can be had now, later."""
        another: str | None = None
        try:
            another = await self._another_token()
        except Exception as error:  # whatever it is, the connection that stands is good
            log.warning("no new token yet", extra={"reason": type(error).__name__})
        self._held = another or self._held
        self._course.show(dialogue, another, _now_s(), dialling.clock_s())

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def _end(self, dialogue: Dialogue, code: int | None, reason: str) -> None:
        """A connection is over, or never was. Raises `Stopped`."""
        self._socket = self._dialogue = None
        try:
            back = self._course.after(dialogue, code, reason, _now_s())
        except Stopped:
            self._is_closed = True
            raise
        self._items.append(Lost(back.why, back.wait_s))
        self._dial_at_s = _now_s() + back.wait_s
        self._needs_token = back.needs_token

    async def _another_token(self) -> str | None:
        if self._token is None or isinstance(self._token, str):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token


def _now_s() -> float:
    return asyncio.get_running_loop().time()
