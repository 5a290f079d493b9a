"""The functions of the WebSocket API on some DynamoDB, with the sockets made up."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own

from consumer.core import watch
from consumer.core.events import Event
from consumer.core.grant import Grant
from consumer.core.statuses import Verdict
from lambdas.stream.connections import Connections, Gone, Request
from lambdas.stream.draft import Outcome
from lambdas.stream.log import DynamoLog
from lambdas.stream.motion import Motion
from lambdas.stream.posts import Posts

LOG, CONNECTIONS = "log", "connections"
START_MS = 1_767_225_600_000  # 2026-01-01
LEASE_MS = 10_000
FOR_EVER = Grant(frozenset({"*"}), 1e11)


def make_tables() -> Any:
    """Both tables in moto, as the template has them; a client that takes Python's own types."""
    client = boto3.resource("dynamodb", region_name="us-east-1").meta.client
    for name in (LOG, CONNECTIONS):
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": attribute, "AttributeType": "S"} for attribute in ("pk", "sk")
            ],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
    return client


class Sockets(Posts):
    """API Gateway's side: who is connected, and what each was sent."""

    def __init__(self) -> None:
        self.sent: dict[str, list[dict[str, Any]]] = {}
        self.largest = 0
        self.before_post: Callable[[str, dict[str, Any]], None] = lambda id_, message: None

    def post(self, id_: str, message: bytes) -> None:
        told = json.loads(message)
        if id_ in self.sent:
            self.before_post(id_, told)
        if id_ not in self.sent:
            raise Gone
        self.largest = max(self.largest, len(message))
        self.sent[id_].append(told)

    def close(self, id_: str) -> None:
        self.sent.pop(id_, None)


class Stand:
    """The log, the connections and the sockets; another `functions` is another process."""

    def __init__(self, client: Any, *, history: int = 1_000, retention_s: float = 3_600) -> None:
        self.client = client
        self.now_ms = START_MS + 100_000
        self.sockets = Sockets()
        self._history = history
        self._retention_s = retention_s
        self._number = 0
        self.renew()

    def renew(self) -> None:
        """Functions that remember nothing."""
        self.log = self.open_log()
        self.connections = Connections(self.client, CONNECTIONS, now_ms=lambda: self.now_ms)
        self.motion = Motion(
            self.log, self.connections, self.sockets, heartbeat_s=60, now_ms=lambda: self.now_ms
        )

    def open_log(self, client: Any = None) -> DynamoLog:
        """The log, as another function has it."""
        return DynamoLog(
            client or self.client,
            LOG,
            retention_s=self._retention_s,
            history=self._history,
            now_ms=lambda: self.now_ms,
        )

    def connect(self, id_: str, grant: Grant = FOR_EVER, **asked: Any) -> None:
        """As $connect and the greeting do; `asked`: by the address."""
        requests = [self.request({"op": "subscribe", **asked})] if asked else []
        self.connections.open(id_, grant, requests)
        self.sockets.sent[id_] = []
        self.serve(id_)

    def ask(self, id_: str, **request: Any) -> None:
        """As $default does."""
        self.connections.ask(id_, self.request(request))
        self.serve(id_)

    def request(self, message: dict[str, Any] | str) -> Request:
        """With a name of its own."""
        self._number += 1
        return Request(str(self._number), json.dumps(message))

    def serve(self, id_: str, **options: Any) -> bool:
        return self.motion.serve(id_, until_ms=self.now_ms + LEASE_MS, **options)

    def arrive(self, *batch: Event) -> list[Outcome]:
        """As the fan-out does."""
        outcomes = self.log.append(batch)
        self.tell(outcomes)
        return outcomes

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        told = [one.event for one in outcomes if one.verdict is not Verdict.EXPIRED]
        patterns = {pattern for event in told for pattern in watch.matching(event, event.key)}
        for id_, noted in self.connections.watchers(patterns).items():
            self.serve(id_, due=self.log.head().place, noted=noted)

    def beat(self) -> None:
        """As the heartbeat does."""
        for seen in self.connections.everyone():
            self.motion.beat(seen, until_ms=self.now_ms + LEASE_MS)

    def told(self, id_: str) -> list[dict[str, Any]]:
        """What a connection was sent since the last look."""
        sent = self.sockets.sent[id_]
        self.sockets.sent[id_] = []
        return sent

    def rows(self) -> list[str]:
        """Partition keys of what is kept of connections."""
        return sorted(item["pk"] for item in self.client.scan(TableName=CONNECTIONS)["Items"])
