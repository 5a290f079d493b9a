"""The stream without asyncio: `for item in BlockingStatusStream(url)`."""

import logging
import random
import time
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from consumer.client import dialling
from consumer.client.dialogue import Dialogue
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
        self._dialogue: Dialogue | None = None
        self._items = self._run()

    @property
    def cursor(self) -> str | None:
        """See `StatusStream.cursor`."""
        return self._course.cursor if self._dialogue is None else self._dialogue.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        return next(self._items)

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
        self._items.close()

    def _run(self) -> Generator[Item, None, None]:
        """Connection after connection."""
        token = self._another_token()
        while True:
            dialogue = self._course.begin(token, time.monotonic(), dialling.clock_s())
            self._dialogue = dialogue
            code: int | None = None
            reason = ""
            try:
                with connect(self._url, **dialling.options(token, self._options)) as socket:
                    while dialogue.over is None:
                        items, token = self._step(socket, dialogue, token)
                        yield from items
                        dialogue.waits(time.monotonic())
            except ConnectionClosed as error:
                code, reason = dialling.ended(error)
            except (InvalidHandshake, OSError) as error:
                code, reason = dialling.failed(error)
            back = self._course.after(dialogue, code, reason, time.monotonic())
            yield Lost(back.why, back.wait_s)
            time.sleep(back.wait_s)
            if back.needs_token:
                token = self._another_token()

    def _step(
        self, socket: ClientConnection, dialogue: Dialogue, token: str | None
    ) -> tuple[list[Item], str | None]:
        """Wait for what comes next, or for when something is due; say what is to be said."""
        if dialogue.wants_token(time.monotonic()):
            token = self._renew(dialogue, token)
            if dialogue.over is not None:
                return [], token
        for message in dialogue.outgoing():
            socket.send(message)
        try:
            text = socket.recv(max(0.0, dialogue.due_s - time.monotonic()), decode=True)
        except TimeoutError:
            return dialogue.pass_time(time.monotonic()), token
        return dialogue.receive(text), token

    def _renew(self, dialogue: Dialogue, token: str | None) -> str | None:
        """Show another token before this one ends; if none can be had now, later."""
        another: str | None = None
        try:
            another = self._another_token()
        except Exception as error:  # whatever it is, the connection that stands is good
            log.warning("no new token yet", extra={"reason": type(error).__name__})
        self._course.show(dialogue, another, time.monotonic(), dialling.clock_s())
        return another or token

    def _another_token(self) -> str | None:
        return self._token() if callable(self._token) else self._token
