"""Who is connected, what they watch and how far they have been told: a table in DynamoDB.

Functions that want to tell a connection something take turns by a lease on its item. Who finds it
taken leaves word (a request, or up to which place something is due) and goes: whoever holds the
lease cannot give it back without having seen to that.

Items: `connection#<id>`, and for each pattern that it watches one `watch#<pattern>`, by which
events find it.
"""

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from consumer.core.grant import Grant

MAX_WAITING: Final = 10  # requests of one connection; × 16 KiB of the 400 KB that an item may have
MAX_DONE: Final = MAX_WAITING + 4  # × ~20 B = 280 B, so that most items stay below 1 KB
KEPT_S: Final = 2 * 3600 + 600  # API Gateway ends a connection after 2 h (its quotas)
WRITTEN_ITEMS: Final = 25  # of one BatchWriteItem, by its API reference
MAX_TRIES: Final = 6

Item = dict[str, Any]


class Gone(Exception):
    """There is no such connection any more."""


class Lost(Exception):
    """The lease was over, and another function has taken the connection."""


class TooMany(Exception):
    """More requests wait than a connection may have."""


class TableUnavailable(Exception):
    """The table does not answer as it should; asking again may help. The operator must look."""


class Request(NamedTuple):
    """A client's message. Its name tells it from another with the same text."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name} {self.text}"

    @classmethod
    def read(cls, text: str) -> "Request":
        """What `str` made of one."""
        name, _, rest = text.partition(" ")
        return cls(name, rest)


class Connection(Struct):
    """One connection, in the hands of who holds its lease."""

    id: str
    grant: Grant
    connected_s: int
    epoch: str = ""
    """What `place` and the places of `watch` belong to; empty at first."""
    place: int = 0
    """Every matching entry up to there was sent."""
    watch: dict[str, int] = {}
    """Each pattern, and the place after which all that matches it has been told."""
    greeted: bool = False
    requests: list[Request] = []
    """Those that wait; the first `served` of them no longer."""
    served: int = 0
    done: list[str] = []
    """Requests that were served last, by their names, and leases that were given back: a call for
    one of them that is heard only now changes nothing.
    """
    lease: str = ""


class Connections:
    """The table. Times in ms since 1970, but for what is named in seconds."""

    def __init__(self, client: Any, table: str, *, now_ms: Callable[[], int]) -> None:
        """`client`: a DynamoDB resource's, which takes Python's own types."""
        self._client = client
        self._table = table
        self._now_ms = now_ms

    def open(self, id_: str, grant: Grant, requests: Sequence[Request] = ()) -> None:
        """A connection begins, with what its address asks for."""
        now_s = self._now_ms() // 1000
        item = {
            **_key(id_),
            "connected_s": now_s,
            "expires": now_s + KEPT_S,
            "requests": [str(request) for request in requests],
            "done": [],
            **_granted(grant),
        }
        self._call("put_item", Item=item)

    def look(self, id_: str) -> Connection:
        """As it stands, whoever holds it. Raises `Gone`."""
        found = self._call("get_item", Key=_key(id_), ConsistentRead=True)
        if "Item" not in found:
            raise Gone
        return _connection(found["Item"])

    def everyone(self) -> Iterator[Connection]:
        """All connections, as they were a moment ago."""
        scan = {
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": {":prefix": "connection#"},
        }
        return (_connection(item) for item in self._pages("scan", scan))

    def watchers(self, patterns: Iterable[str]) -> dict[str, set[str]]:
        """Who watches any of these, and by which of them."""
        found: dict[str, set[str]] = {}
        for pattern in patterns:
            query = {
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": f"watch#{pattern}"},
                "ConsistentRead": True,  # who subscribed before an event was taken is told of it
            }
            for item in self._pages("query", query):
                found.setdefault(item["sk"], set()).add(pattern)
        return found

    def ask(self, id_: str, request: Request) -> None:
        """A request waits to be served, once. Raises `Gone`, `TooMany`.

        A call that was not answered in time is made again, and may be heard when the second one has
        been, and was served.
        """
        update = {
            "UpdateExpression": "SET requests = list_append(requests, :requests)",
            "ConditionExpression": "attribute_exists(pk) AND size(requests) < :most"
            " AND NOT contains(requests, :request) AND NOT contains(done, :name)",
            "ExpressionAttributeValues": {
                ":requests": [str(request)],
                ":request": str(request),
                ":name": request.name,
                ":most": MAX_WAITING,
            },
        }
        if self._update(id_, update) is None:
            stands = self.look(id_)
            if request not in stands.requests and request.name not in stands.done:
                raise TooMany

    def renew(self, id_: str, grant: Grant) -> None:
        """Another token. Raises `Gone`."""
        values = {f":{name}": value for name, value in _granted(grant).items()}
        update = {
            "UpdateExpression": "SET granted = :granted, granted_until_s = :granted_until_s",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": values,
        }
        if not self._update(id_, update):
            raise Gone

    def claim(self, id_: str, *, due: int, until_ms: int) -> Connection | None:
        """The connection, ours until then; None where another holds it, and has been told.

        `due`: up to which place it must be brought. Raises `Gone`.
        """
        lease = uuid.uuid4().hex[:16]
        while True:
            now_ms = self._now_ms()
            update = {
                "UpdateExpression": "SET lease = :lease, leased_until = :until",
                "ConditionExpression": "attribute_exists(pk) AND"
                " (attribute_not_exists(lease) OR leased_until < :now OR lease = :lease)"
                " AND NOT contains(done, :lease)",
                "ExpressionAttributeValues": {":lease": lease, ":until": until_ms, ":now": now_ms},
            }
            if item := self._update(id_, update):
                return _connection(item)
            if self._leave_word(id_, due):
                return None

    def release(self, held: Connection) -> bool:
        """Give it back, as far as it was told; False where more has come, which is then in it.

        Raises `Gone`, and `Lost` where the time was up.
        """
        condition = " AND size(requests) = :served AND (attribute_not_exists(due) OR due <= :place)"
        if self._give_back(held, condition, {":served": held.served}):
            return True
        found = self._call("get_item", Key=_key(held.id), ConsistentRead=True).get("Item")
        if found is None:
            raise Gone
        if found.get("lease") != held.lease:
            raise Lost
        held.requests = _connection(found).requests
        held.grant = _connection(found).grant
        return False

    def abandon(self, held: Connection) -> None:
        """Give it back although something waits: the next one goes on from there."""
        self._give_back(held, "", {})

    def note(self, id_: str, patterns: Iterable[str]) -> None:
        """Events of these patterns find the connection from now on."""
        expires = self._now_ms() // 1000 + KEPT_S
        keys = (_watch_key(id_, pattern) for pattern in patterns)
        self._write([{"PutRequest": {"Item": {**key, "expires": expires}}} for key in keys])

    def strike(self, id_: str, patterns: Iterable[str]) -> None:
        """They find it no more."""
        keys = (_watch_key(id_, pattern) for pattern in patterns)
        self._write([{"DeleteRequest": {"Key": key}} for key in keys])

    def forget(self, id_: str, noted: Collection[str] = ()) -> None:
        """The connection has ended. `noted`: patterns by which it was found."""
        answer = self._call("delete_item", Key=_key(id_), ReturnValues="ALL_OLD")
        watch = answer.get("Attributes", {}).get("watch", {})
        self.strike(id_, {*watch, *noted})

    # How.

    def _leave_word(self, id_: str, due: int) -> bool:
        """Whether who holds it will see to it; requests that wait, it sees in any case."""
        update = {
            "UpdateExpression": "SET due = :due",
            "ConditionExpression": "attribute_exists(lease) AND leased_until >= :now"
            " AND (attribute_not_exists(due) OR due < :due)",
            "ExpressionAttributeValues": {":due": due, ":now": self._now_ms()},
        }
        if due and self._update(id_, update):
            return True
        found = self._call("get_item", Key=_key(id_), ConsistentRead=True).get("Item")
        if found is None:
            raise Gone
        is_held = "lease" in found and found["leased_until"] >= self._now_ms()
        return is_held and int(found.get("due", 0)) >= due

    def _give_back(self, held: Connection, condition: str, values: Item) -> bool:
        served = ", ".join(f"requests[{number}]" for number in range(held.served))
        names = (request.name for request in held.requests[: held.served])
        done = [*held.done, *names, held.lease]
        update = {
            "UpdateExpression": "SET epoch = :epoch, #place = :place, watch = :watch,"
            " greeted = :greeted, done = :done REMOVE lease, leased_until, due"
            + (served and f", {served}"),
            "ConditionExpression": "lease = :lease" + condition,
            "ExpressionAttributeNames": {"#place": "place"},
            "ExpressionAttributeValues": {
                ":lease": held.lease,
                ":epoch": held.epoch,
                ":place": held.place,
                ":watch": held.watch,
                ":greeted": held.greeted,
                ":done": done[-MAX_DONE:],
                **values,
            },
        }
        return self._update(held.id, update) is not None

    def _update(self, id_: str, update: Item) -> Item | None:
        """The item afterwards; None where the condition does not hold."""
        try:
            answer = self._call("update_item", Key=_key(id_), ReturnValues="ALL_NEW", **update)
        except _Unmet:
            return None
        found: Item = answer["Attributes"]
        return found

    def _write(self, requests: list[Item]) -> None:
        for start in range(0, len(requests), WRITTEN_ITEMS):
            waiting: Item = {self._table: requests[start : start + WRITTEN_ITEMS]}
            for tries in range(MAX_TRIES):
                waiting = self._called("batch_write_item", RequestItems=waiting).get(
                    "UnprocessedItems", {}
                )
                if not waiting:
                    break
                time.sleep(0.02 * 2**tries)
            else:
                raise TableUnavailable("throttled")

    def _pages(self, operation: str, request: Item) -> Iterator[Item]:
        more: Item = {}
        while True:
            answer = self._call(operation, **request, **more)
            yield from answer["Items"]
            if not (last := answer.get("LastEvaluatedKey")):
                return
            more = {"ExclusiveStartKey": last}

    def _call(self, operation: str, **request: Any) -> Item:
        return self._called(operation, TableName=self._table, **request)

    def _called(self, operation: str, **request: Any) -> Item:
        try:
            answer: Item = getattr(self._client, operation)(**request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ConditionalCheckFailedException":
                raise _Unmet from error
            raise TableUnavailable(code) from error
        except BotoCoreError as error:
            raise TableUnavailable(type(error).__name__) from error
        return answer


class _Unmet(Exception):
    """A condition does not hold."""


def _key(id_: str) -> dict[str, str]:
    return {"pk": f"connection#{id_}", "sk": "-"}


def _watch_key(id_: str, pattern: str) -> dict[str, str]:
    return {"pk": f"watch#{pattern}", "sk": id_}


def _granted(grant: Grant) -> Item:
    until_s = None if grant.expires_s is None else int(grant.expires_s)
    return {"granted": sorted(grant.watch), "granted_until_s": until_s}


def _connection(item: Item) -> Connection:
    until_s = item["granted_until_s"]
    return Connection(
        id=item["pk"].partition("#")[2],
        grant=Grant(frozenset(item["granted"]), None if until_s is None else float(until_s)),
        connected_s=int(item["connected_s"]),
        epoch=item.get("epoch", ""),
        place=int(item.get("place", 0)),
        watch={pattern: int(place) for pattern, place in item.get("watch", {}).items()},
        greeted=item.get("greeted", False),
        requests=[Request.read(text) for text in item["requests"]],
        done=list(item["done"]),
        lease=item.get("lease", ""),
    )
