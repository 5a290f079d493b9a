"""Either status log, noting how long each batch waited for its commit."""

import statistics
import time
from collections.abc import Sequence

from consumer.around_log import AroundLog
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.ports import StatusLog


class TimedLog(AroundLog):
    """A `StatusLog` before another; only what is appended through it is timed."""

    def __init__(self, status_log: StatusLog) -> None:
        super().__init__(status_log)
        self._took_ms: list[float] = []

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        """See `StatusLog.append`."""
        begun_s = time.perf_counter()
        verdicts = await self._log.append(batch)
        self._took_ms.append((time.perf_counter() - begun_s) * 1000)
        return verdicts

    def told(self) -> dict[str, float]:
        """The commits' times since the last call; zeros where there were none."""
        took_ms = self._took_ms
        self._took_ms = []
        if len(took_ms) < 2:
            took_ms = (took_ms or [0.0]) * 2
        cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
        return {"commit_p50_ms": cuts[49], "commit_p99_ms": cuts[98]}
