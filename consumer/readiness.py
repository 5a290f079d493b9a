"""Readiness: what `/readyz` waits for, by name. Of no use to who only asks whether we live."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from consumer.edges.sqs import SqsQueue
from consumer.pipeline import Gate

POLL_MARGIN_S: Final = 10.0  # over the wait that a poll asks for, until it counts as unanswered


def patience_s(poll_wait_s: float) -> float:
    """How long a queue may be silent: two polls in a row that nobody answered.

    A quiet queue answers once per `poll_wait_s`; one poll that got lost is no reason to send
    viewers away, who are served from the log.
    """
    return 2 * (poll_wait_s + POLL_MARGIN_S)


class Readiness:
    """Asked by the load balancer every few seconds, and by Prometheus."""

    def __init__(
        self,
        gate: Gate,
        queues: Sequence[SqsQueue],
        *,
        patience_s: float,
        has_keys: Callable[[], bool] = lambda: True,
        is_draining: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queues` may fill up later: without any, nothing is ready. `has_keys` tells whether
        tokens can be verified, or need not be.
        """
        self._gate = gate
        self._queues = queues
        self._patience_s = patience_s
        self._has_keys = has_keys
        self._is_draining = is_draining
        self._clock = clock

    def missing(self) -> list[str]:
        """What keeps us from being ready; nothing when we are."""
        names = ["draining"] if self._is_draining() else []
        if self._gate.refuses:
            names.append("log")
        if not self._queues:
            names.append("queues")
        silent = (queue for queue in self._queues if self._is_silent(queue.answered_s))
        names += (f"{queue.name} queue" for queue in silent)
        if not self._has_keys():
            names.append("token keys")
        return names

    def _is_silent(self, answered_s: float | None) -> bool:
        return answered_s is None or self._clock() - answered_s > self._patience_s
