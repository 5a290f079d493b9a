"""Statuswire's daemon: SQS queues in, live WebSocket statuses out."""

__version__ = "0.1.0"
