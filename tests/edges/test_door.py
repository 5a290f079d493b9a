"""Who may connect: how many, how fast, from where, and whose pages."""

import asyncio
import resource
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import connect
from websockets.datastructures import Headers

from consumer.core.limits import Limits
from consumer.edges import addresses, door
from consumer.edges.door import Door
from consumer.edges.tls import Certificates
from consumer.edges.tokens import Verifier
from consumer.pipeline import Counts
from tests.edges.conftest import Service, rest, serving, until
from tests.edges.test_http import get
from tests.edges.test_websocket import HANDSHAKE, _closed

PROXY, STRANGER, SELF = (addresses.parse(each) for each in ("10.0.0.1", "203.0.113.7", "127.0.0.1"))
PROXIES = [ip_network("10.0.0.0/8")]
LOOPBACK = [ip_network("127.0.0.0/8")]
ANY_VERIFIER = cast(Verifier, object())
ANY_CERTIFICATES = cast(Certificates, object())


class Guest:
    """A connection that notes that it was dropped."""

    is_dropped = False

    def abort(self) -> None:
        self.is_dropped = True


def make(policy: dict[str, Any] | None = None, **limits: Any) -> Door:
    return Door(Limits(**limits), Counts(), **policy or {})


def refused(of: Door) -> dict[str, int]:
    return {reason: n for (_, reason), n in of.counts.items()}


def let_in(of: Door, peer: addresses.Address, times: int, now_s: float = 100.0) -> int:
    return sum(of.enter(Guest(), peer, now_s) for _ in range(times))


def test_so_many_come_in_a_second() -> None:
    """Twice the rate at once, then the rate; counted."""
    entrance = make(handshakes_per_s=10)
    assert let_in(entrance, SELF, 30) == 20
    assert let_in(entrance, SELF, 30, 101.0) == 10
    assert refused(entrance) == {"rate": 30}


def test_so_many_come_from_one_address_in_a_second() -> None:
    """Ten times the rate at once; others are not held up."""
    entrance = make(handshakes_per_s_per_address=2)
    assert let_in(entrance, STRANGER, 30) == 20
    assert let_in(entrance, addresses.parse("203.0.113.8"), 1) == 1
    assert let_in(entrance, STRANGER, 30, 101.0) == 2
    assert refused(entrance) == {"address_rate": 38}


def test_one_address_does_not_use_up_the_rate_of_all() -> None:
    """However often it comes: who floods is refused before it is counted with the others."""
    entrance = make(handshakes_per_s=10, handshakes_per_s_per_address=1)
    assert let_in(entrance, STRANGER, 1_000) == 10
    assert let_in(entrance, addresses.parse("203.0.113.8"), 10) == 10


def test_this_machine_and_proxies_are_not_counted_by_their_address() -> None:
    """A proxy's connections are those of others, who are not known yet."""
    entrance = make({"trusted_proxies": PROXIES}, handshakes_per_s_per_address=1)
    assert let_in(entrance, SELF, 50) == let_in(entrance, PROXY, 50) == 50


def test_whom_a_proxy_names_is_counted() -> None:
    """Once the request is here; the proxy's own requests are not."""
    entrance = make({"trusted_proxies": PROXIES}, handshakes_per_s_per_address=1)
    named, own = Headers({"X-Forwarded-For": str(STRANGER)}), Headers()
    assert sum(entrance.lets_on(PROXY, named, 100.0) for _ in range(30)) == 10
    assert all(entrance.lets_on(PROXY, own, 100.0) for _ in range(30))
    assert let_in(entrance, STRANGER, 1) == 0, "as a neighbour it is the same"


def test_what_is_kept_of_addresses_is_forgotten() -> None:
    """As soon as nothing would be remembered."""
    entrance = make(handshakes_per_s_per_address=1)
    for n in range(100):
        let_in(entrance, addresses.parse(f"203.0.113.{n}"), 2)
    entrance.sweep(101.0)
    assert len(entrance._rates) == 100
    entrance.sweep(102.0)
    assert not entrance._rates


def test_the_oldest_half_open_one_makes_room() -> None:
    """So many may be half-open; the next one costs the oldest."""
    entrance = make(half_open=3)
    guests = [Guest() for _ in range(5)]
    for guest in guests:
        assert entrance.enter(guest, SELF, 100.0)
    assert [guest.is_dropped for guest in guests] == [True, True, False, False, False]
    assert list(entrance.half_open) == guests[2:]
    assert refused(entrance) == {"half_open": 2}


def test_so_many_watch_in_all() -> None:
    """One goes, one comes."""
    entrance = make(connections=3)
    assert [entrance.admit(Guest(), None) for _ in range(4)] == [True, True, True, False]
    entrance.leave(None)
    assert [entrance.admit(Guest(), None) for _ in range(2)] == [True, False]
    assert refused(entrance) == {"connections": 2}


def test_so_many_watch_from_one_address() -> None:
    """Others still may; what is kept goes with the last."""
    entrance = make(connections_per_address=2)
    assert [entrance.admit(Guest(), 7) for _ in range(3)] == [True, True, False]
    assert entrance.admit(Guest(), 8)
    for bucket in (7, 7, 8):
        entrance.leave(bucket)
    assert not entrance._admitted_of
    assert not entrance.admitted
    assert refused(entrance) == {"address": 1}


def test_this_machines_programs_are_not_counted() -> None:
    """Unless they come through a proxy on it, for somebody else."""
    named = Headers({"X-Forwarded-For": str(STRANGER)})
    garbage = Headers({"X-Forwarded-For": "?"})
    alone, proxied = make(), make({"trusted_proxies": LOOPBACK})
    assert alone.counted_as(SELF, named) is None
    assert proxied.counted_as(SELF, Headers()) is None
    assert proxied.counted_as(SELF, named) == addresses.bucket_of(STRANGER)
    assert proxied.counted_as(SELF, garbage) == addresses.bucket_of(SELF)


@pytest.mark.parametrize(
    ("policy", "peer", "is_private"),
    [
        ({}, STRANGER, False),
        ({}, SELF, True),
        ({"trusted_proxies": PROXIES}, PROXY, True),
        ({"trusted_proxies": PROXIES}, STRANGER, False),
        ({"certificates": ANY_CERTIFICATES}, STRANGER, True),
    ],
)
def test_where_a_token_can_be_overheard(
    policy: dict[str, Any], peer: addresses.Address, is_private: bool
) -> None:
    """In the clear, from neither this machine nor a proxy that is said to end TLS."""
    assert make(policy).is_private(peer) == is_private


TLS = {"certificates": ANY_CERTIFICATES}
KEY = {"verifier": ANY_VERIFIER}
ALLOWED: list[tuple[dict[str, Any], addresses.Address, dict[str, str], bool]] = [
    ({}, SELF, {"Host": "x"}, True),
    ({}, SELF, {"Origin": "http://localhost:8080", "Host": "localhost:8080"}, True),
    ({}, SELF, {"Origin": "http://[::1]:8080", "Host": "[::1]:8080"}, True),
    ({}, SELF, {"Origin": "https://localhost", "Host": "localhost"}, False),
    ({}, SELF, {"Origin": "http://evil.example", "Host": "evil.example"}, False),
    ({}, SELF, {"Origin": "http://localhost:1", "Host": "localhost:2"}, False),
    ({}, SELF, {"Origin": "null", "Host": "localhost"}, False),
    ({}, SELF, {"Origin": "http://localhost"}, False),
    (TLS, SELF, {"Origin": "https://localhost", "Host": "localhost"}, True),
    (TLS, SELF, {"Origin": "http://localhost", "Host": "localhost"}, False),
    (KEY, STRANGER, {"Origin": "http://status.example", "Host": "status.example"}, True),
    (KEY, STRANGER, {"Origin": "http://evil.example", "Host": "status.example"}, False),
    (KEY, STRANGER, {"Origin": "https://status.example", "Host": "status.example"}, False),
    ({**KEY, **TLS}, STRANGER, {"Origin": "https://s.example", "Host": "s.example"}, True),
    (
        {**KEY, "trusted_proxies": PROXIES},
        PROXY,
        {"Origin": "https://s.example", "Host": "s.example", "X-Forwarded-Proto": "http, https"},
        True,
    ),
    (
        {**KEY, "trusted_proxies": PROXIES},
        STRANGER,
        {"Origin": "https://s.example", "Host": "s.example", "X-Forwarded-Proto": "https"},
        False,
    ),
    (
        {"origins": frozenset({"https://other.example"})},
        SELF,
        {"Origin": "https://other.example", "Host": "localhost"},
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "peer", "headers", "is_allowed"), ALLOWED)
def test_whose_pages_may_connect(
    policy: dict[str, Any], peer: addresses.Address, headers: dict[str, str], is_allowed: bool
) -> None:
    """Our own, by the scheme that the browser saw, and those of the setting."""
    assert make(policy).allows(Headers(headers), peer) == is_allowed


@pytest.mark.parametrize("name", ["Origin", "Host"])
def test_a_header_that_is_there_twice_proves_nothing(name: str) -> None:
    """Others may have read the other one."""
    headers = Headers({"Origin": "http://localhost", "Host": "localhost"})
    headers[name] = headers[name]
    assert not make().allows(headers, SELF)


async def test_the_limit_of_viewers_is_told(tmp_path: Path) -> None:
    """The handshake is finished, and 1013 asks the client to come back later."""
    async with serving(tmp_path, limits=Limits(connections=2)) as service:
        first, _ = await service.connect(), await service.connect()
        late = await connect(service.url)
        assert await _closed(late) == 1013
        await first.close()
        await until(lambda: service.server.door.admitted == 1)
        await service.connect()


async def _status(service: Service, *headers: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HANDSHAKE[:-2] + b"".join(each + b"\r\n" for each in headers) + b"\r\n")
    answer = await reader.readline()
    writer.close()
    return int(answer.split()[1])


async def test_who_comes_too_often_through_a_proxy_is_told(tmp_path: Path) -> None:
    """With 429; health checks are answered whoever asks."""
    limits = Limits(handshakes_per_s_per_address=0.1)
    async with serving(tmp_path, limits=limits, trusted_proxies=LOOPBACK) as service:
        named = b"X-Forwarded-For: 203.0.113.7"
        assert [await _status(service, named) for _ in range(2)] == [101, 429]
        assert await _status(service, b"X-Forwarded-For: 203.0.113.8") == 101
        assert service.counts["connections_refused", "address_rate"] == 1
        assert (await get(service, "/healthz"))[0] == 200


async def test_no_token_is_taken_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer that is neither on this machine nor behind a proxy is refused, a probe is not."""
    async with serving(tmp_path, verifier=ANY_VERIFIER) as service:
        monkeypatch.setattr(addresses, "parse", lambda _: STRANGER)
        assert await _status(service, b"Authorization: Bearer all") == 403
        assert service.counts["connections_refused", "insecure"] == 1
        assert (await get(service, "/healthz"))[0] == 200


async def test_a_connection_beyond_the_rate_is_dropped(tmp_path: Path) -> None:
    """Without a word, and before anything is kept of it."""
    async with serving(tmp_path, limits=Limits(handshakes_per_s=1)) as service:
        assert [await _attempt(service) for _ in range(3)] == [True, True, False]
        assert service.counts["connections_refused", "rate"] == 1
        await until(lambda: not service.server.connections)
        assert not service.server.door.half_open


async def _attempt(service: Service) -> bool:
    """Whether anything is answered."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
    except ConnectionError:
        return False
    writer.close()
    return bool(answer)


async def test_who_says_nothing_is_let_go(tmp_path: Path) -> None:
    """After the handshake's time; drop by drop counts as nothing."""
    async with serving(tmp_path, limits=Limits(handshake_s=0.1)) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HANDSHAKE[:20])
        assert not await rest(reader)
        writer.close()
        assert service.counts["connections_refused", "handshake_time"] == 1
        assert not service.server.door.half_open


async def test_a_request_has_its_bound(service: Service) -> None:
    """A hundred headers of 200 B are 20 kB and too many; the answer says so."""
    headers = b"".join(b"X-%d: %b\r\n" % (n, b"x" * 200) for n in range(110))
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HANDSHAKE[:-2] + headers + b"\r\n")
    assert (await reader.readline()).split()[1] == b"431"
    writer.close()


async def test_a_client_that_talks_on_still_reads_why_it_was_ended(service: Service) -> None:
    """What comes behind the last word is read, or the system would reset what was written."""
    client = await service.connect()
    client.transport.write(b"\xff" * 200_000)
    assert await _closed(client) == 4400


async def test_a_client_that_talks_on_and_on_is_dropped(service: Service) -> None:
    """What is read for that reason has its bound."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    with pytest.raises(ConnectionError):
        await _talk_on(writer)
    assert service.counts["connections_closed", "4400"] == 1


async def _talk_on(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(10):
        while True:
            writer.write(b"\xff" * 65_536)
            await writer.drain()


@pytest.mark.parametrize("frame", [b"\x8a\x80xxxx", b"\x89\x80xxxx", b"\x81\x8dxxxx" + bytes(
    a ^ ord("x") for a in b'{"op":"ping"}')], ids=["pong", "ping", "text"])  # fmt: skip
async def test_so_many_frames_are_heard(tmp_path: Path, frame: bytes) -> None:
    """Of whatever kind: ten times the rate at once, and with one more the connection ends."""
    async with serving(tmp_path, limits=Limits(messages_per_s=0.5)) as service:
        client = await service.connect(ping_interval=None)
        client.transport.write(frame * 5)
        assert (await asyncio.wait_for(client.recv(), 5)) is not None
        client.transport.write(frame)
        assert await _closed(client) == 4429


async def test_so_much_of_a_message_is_heard(tmp_path: Path) -> None:
    """A message of the limit's size is answered, one byte more ends the connection."""
    async with serving(tmp_path, limits=Limits(message_bytes=1_024)) as service:
        client = await service.connect()
        await client.send('{"op":"dance"}'.ljust(1_024))
        while b"unknown_op" not in (await client.recv(decode=False)):
            pass
        await client.send('{"op":"dance"}'.ljust(1_025))
        assert await _closed(client) == 4400


def test_a_process_makes_room_for_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the system lets it; what is lacking is told."""
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    limits = Limits(connections=3_000, half_open=1_000)
    assert door.make_room(limits) == 4_000 + door.OTHER_FILES - 4_096
    assert door.make_room(Limits(connections=1_000, half_open=100)) == 0
    assert set_to == [(4_096, 4_096), (1_100 + door.OTHER_FILES, 4_096)]
