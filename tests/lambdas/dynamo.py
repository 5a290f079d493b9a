"""DynamoDB in memory, as far as the functions use it; moto's takes 10 ms of CPU for a call.

Some of the tests are played against moto too (`test_ws_dynamo.py`), and the functions run on the
embedded AWS's (`tests/e2e/test_websocket_api.py`). Source of what it does: its API reference.
"""

import copy
import re
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from botocore.exceptions import ClientError

Item = dict[str, Any]
Key = tuple[str, str]
WORDS: Final = re.compile(
    r"(?P<between>(?P<what>[\w#]+) BETWEEN (?P<low>:\w+) AND (?P<high>:\w+))"
    r"|(?P<call>\w+)\((?P<args>[^()]*)\)|(?P<op><=|>=|=|<|>|\(|\))|(?P<name>[#:]?\w+)"
)


class Missing:
    """An attribute that is not there: no comparison with it holds."""

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


MISSING: Final = Missing()


class Refused(Exception):
    """A condition that does not hold."""


class Dynamo:
    """A client that takes Python's own types, as a resource's does. Each call is atomic."""

    def __init__(self, *tables: str) -> None:
        self.tables: dict[str, dict[Key, Item]] = {name: {} for name in tables}
        self._lock = threading.RLock()

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool) -> Item:  # noqa: N803
        assert ConsistentRead
        with self._lock:
            found = self.tables[TableName].get(_key(Key))
            return {} if found is None else {"Item": _out(found)}

    def put_item(self, **request: Any) -> Item:
        return self._alone(self._put, request)

    def update_item(self, **request: Any) -> Item:
        return self._alone(self._update, request)

    def delete_item(self, *, TableName: str, Key: Item, **_: Any) -> Item:  # noqa: N803
        with self._lock:
            gone = self.tables[TableName].pop(_key(Key), None)
            return {} if gone is None else {"Attributes": _out(gone)}

    def query(self, **request: Any) -> Item:
        return self._matching(request, request["KeyConditionExpression"])

    def scan(self, **request: Any) -> Item:
        return self._matching(request, request.get("FilterExpression", ""))

    def batch_get_item(self, *, RequestItems: Item) -> Item:  # noqa: N803
        with self._lock:
            answers: dict[str, list[Item]] = {}
            for table, wanted in RequestItems.items():
                assert 0 < len(wanted["Keys"]) <= 100
                keys = [_key(key) for key in wanted["Keys"]]
                assert len(set(keys)) == len(keys)
                rows = self.tables[table]
                answers[table] = [_out(rows[key]) for key in keys if key in rows]
            return {"Responses": answers, "UnprocessedKeys": {}}

    def batch_write_item(self, *, RequestItems: Item) -> Item:  # noqa: N803
        with self._lock:
            for table, requests in RequestItems.items():
                assert 0 < len(requests) <= 25
                for request in requests:
                    ((kind, what),) = request.items()
                    if kind == "PutRequest":
                        self.tables[table][_key(what["Item"])] = _in(what["Item"])
                    else:
                        self.tables[table].pop(_key(what["Key"]), None)
            return {"UnprocessedItems": {}}

    def transact_write_items(self, *, TransactItems: list[Item]) -> Item:  # noqa: N803
        assert 0 < len(TransactItems) <= 100
        with self._lock:
            before = copy.deepcopy(self.tables)
            reasons = []
            for action in TransactItems:
                ((kind, request),) = action.items()
                try:
                    (self._put if kind == "Put" else self._update)(**request)
                    reasons.append({"Code": "None"})
                except Refused:
                    reasons.append({"Code": "ConditionalCheckFailed"})
            if any(reason["Code"] != "None" for reason in reasons):
                self.tables = before
                answer: Any = {"Error": {"Code": "TransactionCanceledException"}}
                raise ClientError(answer | {"CancellationReasons": reasons}, "TransactWriteItems")
            return {}

    def _alone(self, operation: Any, request: Item) -> Item:
        with self._lock:
            try:
                answer: Item = operation(**request)
            except Refused:
                code = "ConditionalCheckFailedException"
                raise ClientError({"Error": {"Code": code}}, "x") from None
            return answer

    def _put(self, *, TableName: str, Item: Item, **request: Any) -> Item:  # noqa: N803
        rows = self.tables[TableName]
        _check(request, rows.get(_key(Item), {}))
        rows[_key(Item)] = _in(Item)
        return {}

    def _update(self, *, TableName: str, Key: Item, **request: Any) -> Item:  # noqa: N803
        rows = self.tables[TableName]
        stands = rows.get(_key(Key), {})
        _check(request, stands)
        changed = copy.deepcopy(stands) or dict(Key)
        sets, _, removes = request["UpdateExpression"].removeprefix("SET ").partition(" REMOVE ")
        names, values = request.get("ExpressionAttributeNames", {}), _values(request)
        for change in re.findall(r"([\w#]+) = (:\w+|list_append\(\w+, :\w+\))", sets):
            name, value = names.get(change[0], change[0]), change[1]
            appended = re.fullmatch(r"list_append\((\w+), (:\w+)\)", value)
            changed[name] = stands[appended[1]] + values[appended[2]] if appended else values[value]
        for gone in reversed([each for each in removes.split(", ") if each]):
            name, _, place = gone.removesuffix("]").partition("[")
            if place:
                del changed[name][int(place)]
            else:
                changed.pop(name, None)
        rows[_key(Key)] = _in(changed)
        return {"Attributes": _out(rows[_key(Key)])}

    def _matching(self, request: Item, condition: str) -> Item:
        with self._lock:
            rows = sorted(self.tables[request["TableName"]].items())
            found = [item for _, item in rows if not condition or _holds(condition, request, item)]
            return {"Items": [_out(item) for item in found]}


def _check(request: Item, item: Item) -> None:
    if not _holds(request.get("ConditionExpression", ""), request, item):
        raise Refused


def _holds(condition: str, request: Item, item: Item) -> bool:
    """Whether an expression holds, by Python's own grammar: AND, OR and brackets are the same."""
    if not condition:
        return True
    names, values = request.get("ExpressionAttributeNames", {}), _values(request)

    def value(name: str) -> Any:
        return values[name] if name[0] == ":" else item.get(names.get(name, name), MISSING)

    functions = {
        "attribute_exists": lambda what: what is not MISSING,
        "attribute_not_exists": lambda what: what is MISSING,
        "contains": lambda what, one: what is not MISSING and one in what,
        "begins_with": lambda what, prefix: what is not MISSING and what.startswith(prefix),
        "size": lambda what: MISSING if what is MISSING else len(what),
    }

    def python(match: re.Match[str]) -> str:
        part: Mapping[str, Any] = match.groupdict()
        if part["between"]:
            return f"(V({part['low']!r}) <= V({part['what']!r}) <= V({part['high']!r}))"
        if part["call"]:
            arguments = [f"V({each.strip()!r})" for each in part["args"].split(",")]
            return f"F[{part['call']!r}]({', '.join(arguments)})"
        if part["op"]:
            return "==" if part["op"] == "=" else str(part["op"])
        name = part["name"]
        return str(name).lower() if name in ("AND", "OR", "NOT") else f"V({name!r})"

    scope = {"V": value, "F": functions}
    return bool(eval(WORDS.sub(python, condition), scope))  # noqa: S307 # our own expressions


def _values(request: Item) -> Item:
    found: Item = _in(request.get("ExpressionAttributeValues", {}))
    return found


def _key(item: Item) -> Key:
    return item["pk"], item["sk"]


def _in(value: Any) -> Any:
    """What boto3 takes; it refuses floats."""
    assert not isinstance(value, float), "boto3 takes no floats"
    if isinstance(value, dict):
        return {name: _in(each) for name, each in value.items()}
    return [_in(each) for each in value] if isinstance(value, list) else value


def _out(value: Any) -> Any:
    """What boto3 gives: a copy, and numbers as decimals."""
    if isinstance(value, dict):
        return {name: _out(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_out(each) for each in value]
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
