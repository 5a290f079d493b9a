"""Requests that a REST API may meet: valid, nearly so, and not at all. Seeded; all are HTTP."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

JSON = "application/json"
# Half are JSON to API Gateway, half are not.
CONTENT_TYPES = [
    *(JSON, f"{JSON}; charset=utf-8", f"{JSON};charset=ISO-8859-1", None),
    *("Application/JSON", "text/plain", "application/x-amz-json-1.0", f"{JSON}x", "*/*", ";"),
    *("$default", "", "multipart/form-data; boundary=x", f"text/plain, {JSON}"),
]
TEXTS = [
    *("", 'it\'s "quoted"', "\\", "\u2028", "é", "😀", "\x00\x01", "${x}", "$input", "#set($a=1)"),
    *("a" * 81, "run\n", " run", "run.1", "../..", '", "stateMachineArn": "arn:aws:states:x'),
    *("%", "%zz", "%00", "%2F", "arn:aws:states:us-east-1:000000000000:execution:other:run"),
]
IDS = ["i-1234567", "i-123456789", "i-1234567G", "I-12345678", "i-12345678\n", " i-12345678", "*"]
METHODS = ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]
ROUTES = ["/express-instance", "/standard-instance", "/watch-tokens", "/executions/run"]
PATHS = [
    *("/", "", "//", "/express-instance/", "/Express-Instance", "/express-instance/x"),
    *("/executions", "/executions/", "/executions/a/b", "/standard-instance?x=1&x=2"),
    *("/standard%2Dinstance", "/%", "/%zz", "/..%2f..", "/executions/%0A"),
]


@dataclass(frozen=True)
class OddRequest:
    """`path` stands below the stage. `content_type` None sends no such header."""

    method: str
    path: str
    body: bytes = b""
    content_type: str | None = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def wire(self, host: str, stage: str) -> bytes:
        """As it goes over the connection, which it ends."""
        headers = [("Host", host), ("Connection", "close"), ("Content-Length", str(len(self.body)))]
        if self.content_type is not None:
            headers.append(("Content-Type", self.content_type))
        lines = [f"{self.method} {stage}{self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*headers, *self.headers)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def odd_requests(seed: int, number: int) -> Iterator[OddRequest]:
    """The first `number` of a seed's requests."""
    random = Random(seed)
    for _ in range(number):
        yield random.choices(list(KINDS), list(KINDS.values()))[0](random)


def _valid(random: Random) -> dict[str, Any]:
    """For an instance that there is not, so that each run is short."""
    body: dict[str, Any] = {"instance_id": f"i-{random.getrandbits(68):017x}"}
    if random.random() < 0.5:
        body["action"] = random.choice(["toggle", "start", "stop"])
    if random.random() < 0.5:
        body["name"] = f"odd-{random.getrandbits(64):x}"
    if random.random() < 0.5:
        body["note"] = _value(random)
    return body


def _value(random: Random, depth: int = 0) -> Any:
    scalars = [None, True, 0, -1, 2**70, 0.5, 1e300, *TEXTS]
    if depth > 3 or random.random() < 0.6:
        return random.choice(scalars)
    if random.random() < 0.5:
        return [_value(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(TEXTS): _value(random, depth + 1) for _ in range(random.randrange(4))}


def _post(random: Random, body: Any) -> OddRequest:
    text = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return OddRequest("POST", random.choice(ROUTES[:3]), text)


def _good(random: Random) -> OddRequest:
    return OddRequest("POST", random.choice(ROUTES[:2]), json.dumps(_valid(random)).encode())


def _near(random: Random) -> OddRequest:
    """One field is not as it should be, or is not there."""
    body = _valid(random)
    field = random.choice(["instance_id", "action", "name"])
    if random.random() < 0.2:
        body.pop(field, None)
    else:
        texts = IDS if field == "instance_id" else TEXTS
        body[field] = random.choice([*texts, None, 1, [], {}, [body["instance_id"]]])
    return _post(random, body)


def _other(random: Random) -> OddRequest:
    """JSON of some other shape."""
    return _post(random, _value(random))


def _typed(random: Random) -> OddRequest:
    """A Content-Type, or two."""
    kind = random.choice(CONTENT_TYPES)
    second = ("Content-Type", random.choice([JSON, "text/plain"]))
    body = _valid(random) if random.random() < 0.5 else _value(random)
    headers = (second,) if random.random() < 0.2 else ()
    text = json.dumps(body).encode()
    return OddRequest("POST", random.choice(ROUTES[:3]), text, kind, headers)


def _broken(random: Random) -> OddRequest:
    """Bytes that are no JSON, or that some take for it."""
    text = json.dumps(_valid(random))
    notes = [
        *("NaN", "1e999", "01", "'x'", '"\\ud800"', "9" * 400, "9" * 5000, f'"{"x" * 300_000}"'),
        *("[" * depth + "]" * depth for depth in (100, 500, 950, 99_999)),
    ]
    bodies = [
        *(b"", b"\xff\xfe", text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode()),
        text[: random.randrange(len(text))].encode(),
        (text[:-1] + ', "note": "\xe9"}').encode("latin-1"),
        (text[:-1] + ', "instance_id": "x"}').encode(),
        ('{"instance_id": "x", ' + text[1:]).encode(),
        *((text[:-1] + f', "note": {note}}}').encode() for note in notes),
    ]
    return _post(random, random.choice(bodies))


def _compressed(random: Random) -> OddRequest:
    body = gzip.compress(json.dumps(_valid(random)).encode())
    headers = (("Content-Encoding", random.choice(["gzip", "br", "identity"])),)
    return OddRequest("POST", random.choice(ROUTES[:3]), body, JSON, headers)


def _misplaced(random: Random) -> OddRequest:
    """Another method, or another path."""
    text = json.dumps(_valid(random)).encode()
    if random.random() < 0.5:
        return OddRequest(random.choice(METHODS), random.choice(ROUTES), text)
    return OddRequest(random.choice(["POST", "GET"]), random.choice(PATHS), text)


def _asked(random: Random) -> OddRequest:
    """About some execution."""
    name = random.choice([*TEXTS, "run", "odd-1", "arn:aws:states"])
    return OddRequest("GET", f"/executions/{quote(name, safe=random.choice(['', '/:']))}")


def _token(random: Random) -> OddRequest:
    good = ["*", "machine:express", "execution:run", f"instance:i-{random.getrandbits(32):08x}"]
    watch = random.choices([*good, *good, "instance:*", *TEXTS], k=random.randrange(1, 4))
    body = {"watch": random.choice([watch, watch, watch * 70, [], "*", None])}
    return OddRequest("POST", "/watch-tokens", json.dumps(body).encode())


# Kind → how many of a hundred.
KINDS: dict[Callable[[Random], OddRequest], int] = {
    _good: 8,
    _near: 25,
    _other: 15,
    _typed: 15,
    _broken: 15,
    _compressed: 2,
    _misplaced: 10,
    _asked: 6,
    _token: 4,
}
