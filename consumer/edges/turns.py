"""Turns: for how long what clients say is acted on before everything else has its turn.

An event passes the loop several times on its way from the log to the sockets, so it waits several
times for what clients may do in one turn of the loop. A bound per connection alone would leave that
to the number of connections; this one is for all of them together.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TURN_S: Final = 0.001  # five handshakes, or a hundred answers to pings; it may pass it by one act


class Turns:
    """Connections in line, first come, first served."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock  # the loop's own stands still during a turn
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def ask(self, act: Callable[[], None]) -> None:
        """Have this called before long. It must be short itself."""
        self._waiting.append(act)
        self._come_back()

    def _take(self) -> None:
        self._is_due = False
        ends_s = self._clock() + TURN_S
        try:
            while self._waiting:
                # Out of line first: whoever asks again comes behind the others.
                self._waiting.popleft()()
                if self._clock() >= ends_s:
                    break
        finally:  # whoever fails, the others stay in line
            self._come_back()

    def _come_back(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take)
