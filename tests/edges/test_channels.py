"""Connections to SQS: kept where they can be, and no answer is taken that is not whole."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest
import trustme

from consumer.edges import channels
from consumer.edges.channels import Answer, BadAnswer, Channels
from consumer.edges.tunnel import TunnelRefused

HOST: Final = "127.0.0.1"
REQUEST: Final = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
FINE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: b\r\n\r\nfine"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """A server that says what it is told to, to one request after another."""

    def __init__(self) -> None:
        self.says: list[bytes | None] = []
        """To the next requests; None hangs up instead. Then `FINE`, for ever."""
        self.hangs_up = False
        self.connections = 0
        self.gone = 0
        self.heads: list[bytes] = []

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(self._serve, HOST, 0, ssl=tls)
        self.port: int = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await self._body(reader, self.heads[-1])
                said = self.says.pop(0) if self.says else FINE
                if said is None:
                    break
                writer.write(said)
                if self.hangs_up:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gone += 1
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        await reader.readexactly(len(REQUEST) - len(head))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    await upstream.start()
    yield upstream
    upstream.server.close()


@pytest.fixture
async def kept(upstream: Upstream) -> AsyncIterator[Channels]:
    kept = Channels(f"http://{HOST}:{upstream.port}", None)
    yield kept
    kept.close()


async def test_an_answer_is_read_and_its_connection_kept(
    upstream: Upstream, kept: Channels
) -> None:
    """One request after another takes one connection."""
    for _ in range(3):
        assert await kept.request(REQUEST, 5) == Answer(
            200, {b"content-length": b"4", b"x-a": b"b"}, b"fine"
        )
    assert upstream.connections == 1


async def test_requests_at_once_take_a_connection_each(upstream: Upstream, kept: Channels) -> None:
    """None waits for another's long poll."""
    answers = await asyncio.gather(*(kept.request(REQUEST, 5) for _ in range(5)))
    assert [answer.body for answer in answers] == [b"fine"] * 5
    assert upstream.connections == 5


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + FINE,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine",
    ],
    ids=["chunked", "after 100", "then closed"],
)
async def test_other_ways_to_say_the_same(said: bytes, upstream: Upstream, kept: Channels) -> None:
    """Whatever HTTP/1.1 allows a server, and the next request is answered too."""
    upstream.says = [said]
    for _ in range(2):
        assert (await kept.request(REQUEST, 5)).body == b"fine"


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine",
        b"HTTP/1.1 200 OK\r\n\r\nfine, until the connection ends",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfine",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50,
        b"HTTP/1.1 200 OK\r\n" + b"X: 12345678\r\n" * 8 + b"Content-Length: 4\r\n\r\nfine",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ],
    ids=["nothing", "short", "endless", "garbage", "two lengths", "bad chunk", "too large",
         "too much before it", "an upgrade"],
)  # fmt: skip
async def test_what_is_no_whole_answer_fails_and_its_connection_is_not_used_again(
    said: bytes | None, upstream: Upstream, kept: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What half of one would mean, nobody may guess; what comes late is not taken for the next."""
    monkeypatch.setattr(channels, "MAX_ANSWER_BYTES", 64)
    upstream.says = [said]
    with pytest.raises((BadAnswer, ConnectionResetError, TimeoutError)):
        await kept.request(REQUEST, 0.2)
    assert (await kept.request(REQUEST, 5)).body == b"fine"
    assert upstream.connections == 2


async def test_a_second_answer_is_never_the_next_ones(upstream: Upstream, kept: Channels) -> None:
    """Or a delete would be told what a poll was given."""
    upstream.says = [FINE + FINE.replace(b"fine", b"evil")]
    for _ in range(2):
        assert (await kept.request(REQUEST, 5)).body == b"fine"
    assert upstream.connections == 2


async def test_who_gives_up_hangs_up(upstream: Upstream, kept: Channels) -> None:
    """The answer to a cancelled request is nobody's."""
    upstream.says = [b""]
    asking = asyncio.create_task(kept.request(REQUEST, 5))
    while not upstream.heads:  # noqa: ASYNC110  # a server's, which has no event for it
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await kept.request(REQUEST, 5)).body == b"fine"
    assert upstream.connections == 2


async def test_a_connection_that_was_idle_for_long_is_not_trusted(
    upstream: Upstream, kept: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers hang up on those, and what is sent meanwhile is lost."""
    monkeypatch.setattr(channels, "IDLE_S", 0.0)
    for _ in range(2):
        await kept.request(REQUEST, 5)
    assert upstream.connections == 2
    while upstream.gone < 1:  # noqa: ASYNC110  # a server's, which has no event for it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"HTT"])
async def test_a_server_that_hangs_up_is_not_waited_for(
    said: bytes | None, upstream: Upstream, kept: Channels
) -> None:
    """Its end is known at once."""
    upstream.says = [said]
    upstream.hangs_up = True
    with pytest.raises(ConnectionResetError):
        await kept.request(REQUEST, 60)


async def test_nobody_listens(upstream: Upstream, kept: Channels) -> None:
    """An error of the network, at once."""
    upstream.server.close()
    await upstream.server.wait_closed()
    with pytest.raises(OSError, match="Connect"):
        await kept.request(REQUEST, 5)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def _encrypted(authority: trustme.CA, name: str = HOST) -> Upstream:
    upstream = Upstream()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(serving)
    await upstream.start(serving)
    return upstream


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting


async def test_tls_is_checked(authority: trustme.CA) -> None:
    """A certificate of another name, or of nobody we trust, ends it before anything is sent."""
    for name, trusted, is_fine in (
        (HOST, authority, True),
        ("sqs.example.com", authority, False),
        (HOST, trustme.CA(), False),
    ):
        upstream = await _encrypted(authority, name)
        kept = Channels(f"https://{HOST}:{upstream.port}", _trusting(trusted))
        if is_fine:
            assert (await kept.request(REQUEST, 5)).body == b"fine"
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                await kept.request(REQUEST, 5)
            assert not upstream.heads
        kept.close()
        upstream.server.close()


class Proxy:
    """Digs tunnels, or says what it is told."""

    def __init__(self, says: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.says = says
        self.head = b""

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, HOST, 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        writer.write(self.says)
        if b" 200 " not in self.says:
            writer.close()
            return
        port = int(self.head.split(b" ")[1].rpartition(b":")[2])
        onward, back = await asyncio.open_connection(HOST, port)
        await asyncio.gather(_copy(reader, back), _copy(onward, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def test_through_a_proxy(authority: trustme.CA) -> None:
    """The tunnel is asked for with who we are, and leads to an end that is checked as ever."""
    upstream = await _encrypted(authority)
    proxy = Proxy()
    address = f"http://me:p%40ss@{HOST}:{await proxy.start()}"
    kept = Channels(f"https://{HOST}:{upstream.port}", _trusting(authority), address)
    for _ in range(2):
        assert (await kept.request(REQUEST, 5)).body == b"fine"
    assert upstream.connections == 1
    kept.close()
    assert proxy.head.startswith(f"CONNECT {HOST}:{upstream.port} HTTP/1.1\r\n".encode())
    assert base64.b64encode(b"me:p@ss") in proxy.head
    upstream.server.close()
    proxy.server.close()


async def test_in_the_clear_through_a_proxy(upstream: Upstream) -> None:
    """A local AWS behind one."""
    proxy = Proxy()
    address = f"http://{HOST}:{await proxy.start()}"
    kept = Channels(f"http://{HOST}:{upstream.port}", None, address)
    assert (await kept.request(REQUEST, 5)).body == b"fine"
    kept.close()
    assert b"Authorization" not in proxy.head
    proxy.server.close()


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "200"),
        (b"\r\n\r\n", "nothing"),
        (b"x" * 20_000, "no end"),
        (b"HTTP/1.1 200", "hung up"),
    ],
)
async def test_a_proxy_that_refuses(says: bytes, problem: str) -> None:
    """The operator reads what it said, and nothing of what it was sent."""
    proxy = Proxy(says.replace(b" 200", b"  200") if problem == "hung up" else says)
    address = f"http://me:secret@{HOST}:{await proxy.start()}"
    kept = Channels(f"http://{HOST}:1", None, address)
    with pytest.raises(OSError, match=problem) as refused:
        await kept.request(REQUEST, 5)
    assert isinstance(refused.value, TunnelRefused | ConnectionError)
    assert "secret" not in str(refused.value)
    proxy.server.close()
