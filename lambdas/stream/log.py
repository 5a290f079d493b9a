"""The status log in DynamoDB: any number of functions, any of which may die at any moment.

A batch is judged in memory (`draft`) and written in one transaction, which holds only where all of
it still stands as it was read: keys by their revision, identities by not being there, and the
log's head by its place, from which the entries count on. So an event is taken once, whoever gets
it, and places are without holes. A transaction that lost to another is judged once more.

Items: `head`; `entry`, by place; `key`, by key; `seen#<identity>`. `expires` is DynamoDB's time to
live, which deletes within days, so what has expired is also looked past.
"""

import json
import random
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from consumer.core import entries, events
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Standing
from lambdas.stream.draft import Draft, Head, Known, Outcome

MAX_TRIES: Final = 12  # of a batch: with waits of up to 0.2 s, two seconds at the most
WAIT_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2)  # before the next try, and at most so long
READ_ENTRIES: Final = 100  # × ~700 B = 70 kB, of the 1 MB of one Query
KEPT_ENTRIES: Final = 1_000  # in memory, × ~2 kB = 2 MB; everybody reads the same ones
GOT_ITEMS: Final = 100  # of one BatchGetItem, by its API reference
# A run takes two hours at most; what was silent for so long has ended, and nobody told. Nobody asks
# either, as the consumer's reconciler would.
UNENDED_S: Final = 30 * 86_400
HEAD: Final = {"pk": "head", "sk": "-"}
# What makes no difference to who asks again ("TransactWriteItems", cancellation reasons).
PASSING: Final = frozenset(
    {
        *("None", "ConditionalCheckFailed", "TransactionConflict"),
        *("ProvisionedThroughputExceeded", "ThrottlingError"),
    }
)
_STANDING: Final = msgspec.json.Decoder(Standing)

Item = dict[str, Any]


class LogUnavailable(Exception):
    """The log took nothing, or does not answer; asking again may help. The operator must look."""


class LogRefused(Exception):
    """The log cannot take this batch, however often it is asked. The sender must act."""


class Trimmed(Exception):
    """The log no longer reaches back to the place asked for."""


class DynamoLog:
    """See the module's docstring. Its promises are those of `consumer.ports.StatusLog`."""

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        retention_s: float,
        history: int,
        now_ms: Callable[[], int],
    ) -> None:
        """`client`: a DynamoDB resource's, which takes Python's own types. `history`: over how many
        entries a client may resume; further back, a snapshot costs less than they do.
        """
        self._client = client
        self._table = table
        self._retention_ms = round(retention_s * 1000)
        self._history = history
        self._now_ms = now_ms
        self._kept: OrderedDict[tuple[str, int], Entry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def oldest_ms(self) -> int:
        """Before then, what ended is forgotten and what comes has expired."""
        return self._now_ms() - self._retention_ms

    def head(self) -> Head:
        """Where it ends; a log that has not begun is begun. Raises `LogUnavailable`."""
        item = self._call("get_item", Key=HEAD, ConsistentRead=True).get("Item")
        return _head(item) if item else self._begin()

    def append(self, batch: Sequence[Event]) -> list[Outcome]:
        """Compare and store as one atomic step.

        Raises `LogUnavailable`, `LogRefused`, both having taken nothing.
        """
        for tries in range(MAX_TRIES):
            draft = self._judge(batch)
            if not draft.keys or self._write(draft):
                self._keep(draft.entries)
                return draft.outcomes
            pause_s = WAIT_S[min(tries, len(WAIT_S) - 1)]
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 # apart from each other
        raise LogUnavailable("others write the same keys, or the table is throttled")

    def read(self, head: Head, after: int) -> Iterator[Entry]:
        """Every entry after a place, up to a head.

        Raises `Trimmed` where the log does not reach back that far, `LogUnavailable`.
        """
        if head.place - after > self._history:
            raise Trimmed
        while after < head.place:
            found = self._chunk(head, after)
            yield from found
            after = found[-1].place

    def newest(self, epoch: str) -> Iterator[Entry]:
        """The newest entry of every key that has not faded out, in no order."""
        oldest_s = self._now_ms() // 1000
        query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": "key"}}
        for item in self._query(query):
            if int(item.get("expires", oldest_s + 1)) > oldest_s:
                yield _known(item).entry(epoch)

    def history(self, epoch: str, key: str, upto: int) -> list[Entry]:
        """All kept entries of a key up to a place, oldest place first."""
        found = self._call("get_item", Key={"pk": "key", "sk": key}, ConsistentRead=True)
        places = _known(found["Item"]).places if "Item" in found else ()
        wanted = [_entry_key(place) for place in places if place <= upto]
        items = self._get(wanted).values()
        told = (_entry(epoch, item) for item in items if not self._has_expired(item))
        return sorted(told, key=lambda entry: entry.place)

    # Reading.

    def _chunk(self, head: Head, after: int) -> list[Entry]:
        """The next entries, without a hole. Raises `Trimmed`.

        A transaction's items may be seen one after the other by a Query ("Isolation levels for
        DynamoDB transactions"): entries that the head counts are there, or will be at once.
        """
        upto = min(head.place, after + READ_ENTRIES)
        with self._lock:
            kept = [self._kept.get((head.epoch, place)) for place in range(after + 1, upto + 1)]
        known = [entry for entry in kept if entry is not None]
        if len(known) == len(kept):
            return known
        for pause_s in (0.0, *WAIT_S[:3]):
            time.sleep(pause_s)
            if found := self._ask(head, after, upto):
                return found
        raise Trimmed

    def _ask(self, head: Head, after: int, upto: int) -> list[Entry]:
        first, last = (_entry_key(place)["sk"] for place in (after + 1, upto))
        query = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":pk": "entry", ":first": first, ":last": last},
        }
        found: list[Entry] = []
        for item in self._query(query):
            if int(item["sk"]) != after + len(found) + 1 or self._has_expired(item):
                break
            found.append(_entry(head.epoch, item))
        self._keep(found)
        return found

    def _keep(self, found: Sequence[Entry]) -> None:
        """Entries never change, so they can be had without asking."""
        with self._lock:
            for entry in found:
                self._kept[entry.epoch, entry.place] = entry
            while len(self._kept) > KEPT_ENTRIES:
                self._kept.popitem(last=False)

    def _query(self, query: Item) -> Iterator[Item]:
        more: Item = {}
        while True:
            answer = self._call("query", ConsistentRead=True, **query, **more)
            yield from answer["Items"]
            if not (last := answer.get("LastEvaluatedKey")):
                return
            more = {"ExclusiveStartKey": last}

    def _get(self, wanted: Sequence[Item]) -> dict[tuple[str, str], Item]:
        """Items by their keys, as far as they are there."""
        found: dict[tuple[str, str], Item] = {}
        waiting = list(wanted)
        for tries in range(MAX_TRIES):
            if not waiting:
                return found
            request = {"Keys": waiting[:GOT_ITEMS], "ConsistentRead": True}
            answer = self._called("batch_get_item", RequestItems={self._table: request})
            for item in answer["Responses"].get(self._table, ()):
                found[item["pk"], item["sk"]] = item
            left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if left:
                time.sleep(WAIT_S[min(tries, len(WAIT_S) - 1)])
            waiting = left + waiting[GOT_ITEMS:]
        raise LogUnavailable("the table is throttled")

    def _has_expired(self, item: Item) -> bool:
        return int(item["expires"]) * 1000 <= self._now_ms()

    # Writing.

    def _judge(self, batch: Sequence[Event]) -> Draft:
        keys = dict.fromkeys(event.key for event in batch)
        identities = dict.fromkeys(event.identity for event in batch if event.step is None)
        wanted = [HEAD, *({"pk": "key", "sk": key} for key in keys)]
        wanted += [_seen_key(identity) for identity in identities]
        found = self._get(wanted)
        head = found.get((HEAD["pk"], HEAD["sk"]))
        draft = Draft(
            _head(head) if head else self._begin(),
            {key: _known(found.get(("key", key))) for key in keys},
            {each for each in identities if (_seen_key(each)["pk"], "-") in found},
            oldest_ms=self.oldest_ms,
            now_ms=self._now_ms(),
        )
        draft.judge(batch)
        return draft

    def _begin(self) -> Head:
        """A new epoch, if no other function has just begun one."""
        item = {**HEAD, "epoch": uuid.uuid4().hex[:8], "place": 0}
        try:
            self._call("put_item", Item=item, ConditionExpression="attribute_not_exists(pk)")
        except _Unmet:
            return self.head()
        return _head(item)

    def _write(self, draft: Draft) -> bool:
        """Whether it still held. Raises `LogRefused`, `LogUnavailable`."""
        try:
            self._called("transact_write_items", TransactItems=list(self._actions(draft)))
        except _Cancelled as cancelled:
            if not cancelled.reasons <= PASSING:
                reasons = ", ".join(sorted(cancelled.reasons - PASSING))
                raise LogRefused(reasons) from cancelled
            return False
        return True

    def _actions(self, draft: Draft) -> Iterator[Item]:
        for key, known in draft.keys.items():
            yield self._put(self._key_item(key, known), revision=known.revision)
        for identity, time_ms in draft.identities.items():
            yield self._put({**_seen_key(identity), "expires": self._expires(time_ms)})
        for entry in draft.entries:
            expires = self._expires(min(self._now_ms(), events.milliseconds(entry.event.time)))
            item = {"late": entry.late, "payload": entry.payload.decode(), "expires": expires}
            yield self._put({**_entry_key(entry.place), **item})
        if draft.entries:
            yield self._advance(draft)

    def _put(self, item: Item, *, revision: int = 0) -> Item:
        """Where there is none, or one of that revision."""
        put: Item = {"TableName": self._table, "Item": item}
        if revision:
            put["ConditionExpression"] = "revision = :revision"
            put["ExpressionAttributeValues"] = {":revision": revision}
        else:
            put["ConditionExpression"] = "attribute_not_exists(pk)"
        return {"Put": put}

    def _advance(self, draft: Draft) -> Item:
        head = draft.head
        values = {
            ":epoch": head.epoch,
            ":before": draft.entries[0].place - 1,
            ":place": head.place,
            ":lag_ms": head.lag_ms,
        }
        update = {
            "TableName": self._table,
            "Key": HEAD,
            "UpdateExpression": "SET #place = :place, lag_ms = :lag_ms",
            "ConditionExpression": "#place = :before AND epoch = :epoch",
            "ExpressionAttributeNames": {"#place": "place"},
            "ExpressionAttributeValues": values,
        }
        return {"Update": update}

    def _key_item(self, key: str, known: Known) -> Item:
        item = {
            "pk": "key",
            "sk": key,
            "revision": known.revision + 1,
            "standing": msgspec.json.encode(known.standing).decode(),
            "payload": known.payload.decode(),
            "place": known.place,
            "places": json.dumps(known.places),
            "latest_ms": known.latest_ms,
        }
        if events.decode_stored(known.payload).terminal:
            item["expires"] = self._expires(known.latest_ms)
        elif key.startswith("execution:"):
            item["expires"] = known.latest_ms // 1000 + UNENDED_S
        return item

    def _expires(self, time_ms: int) -> int:
        return (time_ms + self._retention_ms) // 1000 + 1

    # Calling.

    def _call(self, operation: str, **request: Any) -> Item:
        return self._called(operation, TableName=self._table, **request)

    def _called(self, operation: str, **request: Any) -> Item:
        try:
            answer: Item = getattr(self._client, operation)(**request)
        except ClientError as error:
            raise _meant(error) from error
        except BotoCoreError as error:
            raise LogUnavailable(type(error).__name__) from error
        return answer


class _Unmet(Exception):
    """A condition does not hold."""


class _Cancelled(Exception):
    """A transaction that was not made."""

    def __init__(self, reasons: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(reasons)))
        self.reasons = reasons


def _meant(error: ClientError) -> Exception:
    response: Mapping[str, Any] = error.response
    code = response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return _Unmet()
    if code == "TransactionCanceledException":
        reasons = response.get("CancellationReasons", ())
        return _Cancelled(frozenset(reason.get("Code", "None") for reason in reasons))
    if code == "ValidationException":
        return LogRefused(code)
    return LogUnavailable(code)


def _entry_key(place: int) -> dict[str, str]:
    return {"pk": "entry", "sk": f"{place:018d}"}  # sorts as text


def _seen_key(identity: str) -> dict[str, str]:
    return {"pk": f"seen#{identity}", "sk": "-"}


def _head(item: Item) -> Head:
    lag_ms = item.get("lag_ms")
    return Head(item["epoch"], int(item["place"]), None if lag_ms is None else int(lag_ms))


def _entry(epoch: str, item: Item) -> Entry:
    return entries.stored(epoch, int(item["sk"]), item["payload"].encode(), late=item["late"])


def _known(item: Item | None) -> Known:
    if item is None:
        return Known()
    return Known(
        revision=int(item["revision"]),
        standing=_STANDING.decode(item["standing"]),
        payload=item["payload"].encode(),
        place=int(item["place"]),
        places=tuple(json.loads(item["places"])),
        latest_ms=int(item["latest_ms"]),
    )
