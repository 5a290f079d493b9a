"""The stream without asyncio: `for item in BlockingStatusStream(url)`."""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from consumer.client import dialling
from consumer.client.dialogue import Dialogue
from consumer.client.errors import Stopped
from consumer.client.items import Item, Lost

log: Final = logging.getLogger(__name__)


class BlockingStatusStream:
    """`StatusStream` for a thread that may wait; see there. `token` is one, or returns one."""

    def __init__(
        self,
        url: str,
        *,
        watch: Sequence[str] | None = None,
        token: str | Callable[[], str] | None = None,
        since: str | None = None,
        **options: Any,
    ) -> None:
        """As `StatusStream`; the rest goes to `websockets.sync.client.connect`, such as `ssl`."""
        self._url = dialling.check(url)
        self._token = token
        self._options = options
        self._course = dialling.course(watch, since, token, random.random)
        self._held: str | None = None
        self._needs_token = True
        self._dial_at_s = 0.0
        self._socket: ClientConnection | None = None
        self._hanging_up = ExitStack()
        self._dialogue: Dialogue | None = None
        self._items: deque[Item] = deque()
        self._is_closed = False

    @property
    def cursor(self) -> str | None:
        """See `StatusStream.cursor`."""
        return self._course.cursor if self._dialogue is None else self._dialogue.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        while not self._items:
            if self._is_closed:
                raise StopIteration
            self._go_on()
        return self._items.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; no more is yielded. To be called by the thread that iterates."""
        self._is_closed = True
        self._items.clear()
        self._hang_up()

    def _go_on(self) -> None:
        """Do what comes next: dial, or wait on the connection that stands."""
        if self._socket is None or self._dialogue is None:
            time.sleep(max(0.0, self._dial_at_s - time.monotonic()))
            self._dial()
            return
        try:
            self._step(self._socket, self._dialogue)
        except ConnectionClosed as error:
            self._hang_up()
            self._end(self._dialogue, *dialling.ended(error))

    def _dial(self) -> None:
        if self._needs_token:
            self._held = self._another_token()
            self._needs_token = False
        dialogue = self._course.begin(self._held, time.monotonic(), dialling.clock_s())
        try:
            options = dialling.options(self._held, self._options)
            self._socket = self._hanging_up.enter_context(connect(self._url, **options))
        except (InvalidHandshake, ConnectionClosed, OSError) as error:
            self._end(dialogue, *dialling.failed(error))
        else:
            self._dialogue = dialogue

    def _step(self, socket: ClientConnection, dialogue: Dialogue) -> None:
        """Say what is to be said; take what comes next, or see what is due."""
        dialogue.waits(time.monotonic())
        if dialogue.wants_token(time.monotonic()):
            self._renew(dialogue)
        if dialogue.over is not None:
            self._hang_up()
            self._end(dialogue, None, "")
            return
        for message in dialogue.outgoing():
            socket.send(message)
        try:
            text = socket.recv(max(0.0, dialogue.due_s - time.monotonic()), decode=True)
        except TimeoutError:
            self._items += dialogue.pass_time(time.monotonic())
        else:
            self._items += dialogue.receive(text)

    def _renew(self, dialogue: Dialogue) -> None:
        """Show another token before this one ends; if none can be had now, later."""
        another: str | None = None
        try:
            another = self._another_token()
        except Exception as error:  # whatever it is, the connection that stands is good
            log.warning("no new token yet", extra={"reason": type(error).__name__})
        self._held = another or self._held
        self._course.show(dialogue, another, time.monotonic(), dialling.clock_s())

    def _hang_up(self) -> None:
        self._socket = None
        self._hanging_up.close()

    def _end(self, dialogue: Dialogue, code: int | None, reason: str) -> None:
        """A connection is over, or never was. Raises `Stopped`."""
        self._dialogue = None
        try:
            back = self._course.after(dialogue, code, reason, time.monotonic())
        except Stopped:
            self._is_closed = True
            raise
        self._items.append(Lost(back.why, back.wait_s))
        self._dial_at_s = time.monotonic() + back.wait_s
        self._needs_token = back.needs_token

    def _another_token(self) -> str | None:
        return self._token() if callable(self._token) else self._token
