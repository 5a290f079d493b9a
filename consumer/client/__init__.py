"""The viewer's side of the protocol: a stream that resumes, and says what it could not show.

Needs Python's standard library and `websockets`, and nothing of the daemon.
"""

from consumer.client.blocking import BlockingStatusStream
from consumer.client.errors import (
    Forbidden,
    Misunderstood,
    RequestRefused,
    Stopped,
    TokenRefused,
    WrongAddress,
)
from consumer.client.items import (
    Event,
    Execution,
    Gap,
    Heartbeat,
    Item,
    Live,
    Lost,
    Resumed,
    Skipped,
    Snapshot,
    Stale,
    Status,
)
from consumer.client.stream import StatusStream

__all__ = [
    "BlockingStatusStream",
    "Event",
    "Execution",
    "Forbidden",
    "Gap",
    "Heartbeat",
    "Item",
    "Live",
    "Lost",
    "Misunderstood",
    "RequestRefused",
    "Resumed",
    "Skipped",
    "Snapshot",
    "Stale",
    "Status",
    "StatusStream",
    "Stopped",
    "TokenRefused",
    "WrongAddress",
]
