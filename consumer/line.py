"""A line of tasks: in each pass of the event loop one of them goes on.

What many ask for at once is served one by one, and everything else has its turn in between.
"""

import asyncio
from collections import deque


class Line:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False  # in this pass

    async def turn(self) -> None:
        """Wait for one's turn; it lasts until the task waits for anything."""
        loop = asyncio.get_running_loop()
        if not self._is_taken:
            self._is_taken = True
            loop.call_soon(self._next)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self) -> None:
        """The next pass: whoever is first goes on, and whoever is behind in the one after it."""
        self._is_taken = False
        while self._waiting and not self._is_taken:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled has no turn
                turn.set_result(None)
                self._is_taken = True
        if self._is_taken:
            asyncio.get_running_loop().call_soon(self._next)
