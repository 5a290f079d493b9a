"""The WebSocket protocol's messages, version 1, both ways. Pure.

`infra/asyncapi.yaml` is the machine-readable twin of this file.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from consumer.core import events, watch
from consumer.core.entries import json_frame, text_frame
from consumer.core.limits import Limits

PROTOCOL: Final = 1
SUBPROTOCOL: Final = "statuswire.v1"
MAX_SNAPSHOT_BYTES: Final = 256 * 1024  # the contract's bound on one snapshot frame


class CloseCode(IntEnum):
    """Why the server closes; the contract's table says what a client does about each."""

    DRAINING = 1012
    OVER_CAPACITY = 1013
    MALFORMED = 4400
    TOKEN = 4401
    FORBIDDEN = 4403
    TOO_SLOW = 4408
    TOO_MANY = 4429


class Unreadable(Exception):
    """Not a message at all: the connection is closed with 4400. The client must act."""


class TooMany(Exception):
    """More than a client may ask at once: the connection is closed with 4429."""


class BadRequest(Exception):
    """A message that cannot be granted: answered with an `error` frame. The client must act."""

    def __init__(self, code: str, message: str, id_: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id_


Id = Annotated[str, Meta(max_length=128)] | None


class Subscribe(Struct, frozen=True, tag_field="op", tag="subscribe"):
    """Show me what matches; from a cursor on, where there is one."""

    watch: Annotated[list[str], Meta(min_length=1)]
    id: Id = None
    since: str | None = None


class Unsubscribe(Struct, frozen=True, tag_field="op", tag="unsubscribe"):
    """Stop showing me what these patterns match."""

    watch: Annotated[list[str], Meta(min_length=1)]
    id: Id = None


class Ping(Struct, frozen=True, tag_field="op", tag="ping"):
    """Are you there?"""

    id: Id = None


class Token(Struct, frozen=True, tag_field="op", tag="token"):
    """Renew my right to watch."""

    token: str
    id: Id = None


Request = Subscribe | Unsubscribe | Ping | Token
_REQUESTS: Final[dict[str, type[Request]]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
    "token": Token,
}


def decode(text: bytes, limits: Limits) -> Request:
    """A client's message. Raises `Unreadable` or `BadRequest`."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable("not JSON") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("op"), str):
        raise Unreadable("not an object with an op")
    id_ = raw["id"] if isinstance(raw.get("id"), str) and len(raw["id"]) <= 128 else None
    kind = _REQUESTS.get(raw["op"])
    if kind is None:
        raise BadRequest("unknown_op", f"op is one of {', '.join(_REQUESTS)}", id_)
    try:
        request = msgspec.convert(raw, kind)
        if isinstance(request, Subscribe | Unsubscribe):
            check_watch(request.watch, limits)
    except msgspec.ValidationError as error:
        code = "bad_watch" if "$.watch" in str(error) else "bad_request"
        raise BadRequest(code, str(error), id_) from error
    except watch.BadWatch as error:
        raise BadRequest("bad_watch", str(error), id_) from error
    return request


def check_watch(patterns: Sequence[str], limits: Limits) -> None:
    """Raises `watch.BadWatch` where one of the patterns is none, or too many to look at."""
    if len(patterns) > limits.watches:
        raise watch.BadWatch(f"at most {limits.watches} patterns")
    for pattern in patterns:
        watch.check(pattern)


def welcome(heartbeat_s: float, lacks: Sequence[str] = ()) -> bytes:
    """The first frame of every connection; `lacks`: what of the protocol this server cannot do."""
    message = {"op": "welcome", "protocol": PROTOCOL, "heartbeat_s": heartbeat_s}
    return json_frame({**message, "lacks": lacks} if lacks else message)


def snapshot(
    id_: str | None,
    origin: str,
    cursor: str,
    payloads: Sequence[bytes],
    most_bytes: int = MAX_SNAPSHOT_BYTES,
) -> Iterator[bytes]:
    """The frames of a snapshot as of `cursor`, each under `most_bytes`.

    A cursor promises that all before it has been sent, so only the last frame may carry the
    snapshot's own; the others carry `origin`, the log's beginning, from which a client that lost
    its connection half-way gets everything again.
    """
    prefix = b'{"op":"snapshot","id":%b,' % msgspec.json.encode(id_)
    room = most_bytes - len(prefix) - 256  # the cursor, `more`, the frame's own header
    chunk: list[bytes] = []
    size = 0
    for payload in payloads:
        if size + len(payload) + 1 > room:
            yield _snapshot_frame(prefix, origin, chunk, more=True)
            chunk, size = [], 0
        chunk.append(payload)
        size += len(payload) + 1
    yield _snapshot_frame(prefix, cursor, chunk, more=False)


def _snapshot_frame(prefix: bytes, cursor: str, payloads: list[bytes], *, more: bool) -> bytes:
    return text_frame(
        b'%b"cursor":"%b","events":[%b],"more":%b}'
        % (prefix, cursor.encode(), b",".join(payloads), b"true" if more else b"false")
    )


def resumed(id_: str | None, cursor: str) -> bytes:
    """Everything after the client's cursor, up to this one, has been sent."""
    return json_frame({"op": "resumed", "id": id_, "cursor": cursor})


def gap(id_: str | None, cursor: str) -> bytes:
    """What lay between the client's cursor and this one is gone; a fresh snapshot follows."""
    return json_frame({"op": "gap", "id": id_, "cursor": cursor})


def skipped(count: int, cursor: str) -> bytes:
    """This many events after the cursor, superseded by newer ones of their keys, are left out."""
    return json_frame({"op": "skipped", "count": count, "cursor": cursor})


def heartbeat(cursor: str | None, lag_ms: int | None, away_ms: int = 0) -> bytes:
    """Still here. `lag_ms` is null before the first event; no cursor while something waits;
    `away_ms`, where it is not 0, is how long the log has not answered, so that all may be old.
    """
    message: dict[str, Any] = {"op": "heartbeat", "lag_ms": lag_ms}
    if away_ms:
        message["away_ms"] = away_ms
    if cursor is not None:
        message["cursor"] = cursor
    return json_frame(message)


def pong(id_: str | None) -> bytes:
    """The answer to `ping`."""
    return json_frame({"op": "pong", "id": id_})


def renewed(id_: str | None, expires_s: float) -> bytes:
    """The answer to `token`: the right to watch ends then, in seconds since 1970."""
    expires = events.timestamp(int(expires_s * 1_000))
    return json_frame({"op": "token", "id": id_, "expires": expires})


def failure(error: BadRequest) -> bytes:
    """The answer to a request that cannot be granted."""
    return json_frame({"op": "error", "id": error.id, "code": error.code, "message": error.message})


def closing(code: CloseCode, message: str) -> bytes:
    """The connection ends as with this close code, where none can be sent."""
    error = BadRequest("closing", message)
    return json_frame(
        {"op": "error", "id": None, "code": error.code, "message": message, "close": int(code)}
    )


def draining(retry_ms: int) -> bytes:
    """The server goes away; come back after this long."""
    return json_frame({"op": "draining", "retry_ms": retry_ms})
