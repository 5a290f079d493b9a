"""Both shells against a server that says what a test tells it to."""

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from consumer.client import (
    Forbidden,
    Gap,
    Live,
    Lost,
    Misunderstood,
    RequestRefused,
    Resumed,
    Skipped,
    Snapshot,
    Stale,
    Status,
    StatusStream,
    Stopped,
    TokenRefused,
    WrongAddress,
    blocking,
    dialogue,
    stream,
)
from tests.client.conftest import Dial
from tests.client.scripted import EVENT, Reader, Script, Visit, items
from tests.edges.issuers import segment

GIVEN = "s3cret"


def token(lifetime_s: float = 900.0, **claims: Any) -> str:
    """One that says when it ends; nobody here looks at its signature."""
    return ".".join(
        segment(part)
        for part in ({"alg": "HS256"}, {"exp": time.time() + lifetime_s, **claims}, b"s")
    )


async def went_live(script: Script, reader: Reader) -> Visit:
    """A connection that has been told what stands, and whose client has read it."""
    first = asyncio.create_task(items(reader, 2))
    visit = await script.live()
    assert await first == [Snapshot((), "e-1"), Live()]
    return visit


async def came_back(script: Script, reader: Reader) -> Visit:
    """The next connection, which was resumed."""
    following = asyncio.create_task(items(reader, 2))
    visit = await script.visit()
    await visit.say("resumed", id="1", cursor=visit.opening["since"])
    assert await following == [Resumed(visit.opening["since"]), Live()]
    return visit


async def test_what_comes_is_told_apart_by_type(script: Script, dial: Dial) -> None:
    """A whole snapshot, what happens, what was late, what was left out."""
    reader = dial(script.url, watch=["machine:standard", "execution:a"])
    first = asyncio.create_task(items(reader, 2))
    visit = await script.visit()
    watch = ["machine:standard", "execution:a"]
    assert visit.opening == {"op": "subscribe", "id": "1", "watch": watch}
    await visit.snapshot("e-0", EVENT, more=True)
    await visit.snapshot("e-3", EVENT)
    assert await first == [Snapshot((EVENT, EVENT), "e-3"), Live()]  # type: ignore[arg-type]
    await visit.status("e-4")
    await visit.say("status", cursor="e-5", event=EVENT, late=True)
    await visit.say("skipped", count=2, cursor="e-5")
    newest, late, skipped = await items(reader, 3)
    assert isinstance(newest, Status)
    assert (newest.event["id"], newest.late) == ("e-4", False)
    assert late == Status(EVENT, True, "e-5")  # type: ignore[arg-type]
    assert skipped == Skipped(2, "e-5")
    assert reader.cursor == "e-5"


async def test_what_is_new_in_the_protocol_is_left_alone(script: Script, dial: Dial) -> None:
    """Messages of a kind, and fields, that this version does not know."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await visit.say("weather", sky="blue")
    await visit.say("status", cursor="e-2", event={**EVENT, "colour": "red"}, colour="red")
    assert isinstance(await reader.item(), Status)


async def test_a_lost_connection_is_resumed(script: Script, dial: Dial) -> None:
    """From the newest cursor; what was missed comes before `Resumed`."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await visit.status("e-2")
    await items(reader, 1)
    visit.drop()
    (lost,) = await items(reader, 1)
    assert isinstance(lost, Lost)
    following = asyncio.create_task(items(reader, 3))
    again = await script.visit()
    await again.status("e-3")
    await again.say("resumed", id="1", cursor="e-3")
    status, *rest = await following
    assert again.opening["since"] == "e-2"
    assert isinstance(status, Status)
    assert rest == [Resumed("e-3"), Live()]


async def test_a_stream_goes_on_where_another_stood(script: Script, dial: Dial) -> None:
    """A cursor that was kept is as good as one of this stream."""
    reader = dial(script.url, since="e-41")
    first = asyncio.create_task(items(reader, 2))
    visit = await script.visit()
    assert visit.opening["since"] == "e-41"
    await visit.say("resumed", id="1", cursor="e-41")
    assert await first == [Resumed("e-41"), Live()]


async def test_half_a_snapshot_is_no_place(script: Script, dial: Dial) -> None:
    """Lost within the first, it begins anew; and nothing of it was yielded."""
    reader = dial(script.url)
    first = asyncio.create_task(items(reader, 1))
    visit = await script.visit()
    await visit.snapshot("e-0", EVENT, more=True)
    visit.drop()
    (lost,) = await first
    assert isinstance(lost, Lost)
    following = asyncio.create_task(items(reader, 1))
    again = await script.visit()
    await again.snapshot("e-9")
    assert await following == [Snapshot((), "e-9")]
    assert "since" not in again.opening


async def test_a_gap_is_told_until_it_is_healed(script: Script, dial: Dial) -> None:
    """Its cursor counts once the snapshot is whole: lost before, the old one brings it again."""
    reader = dial(script.url, since="e-7")
    first = asyncio.create_task(items(reader, 2))
    visit = await script.visit()
    await visit.say("gap", id="1", cursor="f-9")
    await visit.snapshot("f-0", EVENT, more=True)
    visit.drop()
    gap, _ = await first
    assert gap == Gap()
    following = asyncio.create_task(items(reader, 3))
    again = await script.visit()
    await again.say("gap", id="1", cursor="f-9")
    await again.snapshot("f-9")
    assert await following == [Gap(), Snapshot((), "f-9"), Live()]
    assert again.opening["since"] == "e-7"


async def test_silence_is_stale_and_then_lost(
    script: Script, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two heartbeats missed; any message ends it; four missed, and another connection is made."""
    monkeypatch.setattr(dialogue, "LOST_AFTER_AT_LEAST_S", 0.4)
    script.welcome["heartbeat_s"] = 0.1
    reader = dial(script.url)
    visit = await went_live(script, reader)
    assert isinstance((await items(reader, 1))[0], Stale)
    await visit.say("heartbeat", cursor="e-1", lag_ms=None)
    live, stale, lost = await items(reader, 3)
    assert live == Live()
    assert isinstance(stale, Stale)
    assert isinstance(lost, Lost)
    assert (await came_back(script, reader)).opening["since"] == "e-1"


async def test_a_log_that_is_away_is_stale(script: Script, dial: Dial) -> None:
    """The server is there, and what it shows may be old all the same."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await visit.say("heartbeat", lag_ms=12, away_ms=4_200)
    await visit.say("heartbeat", lag_ms=12, away_ms=5_200)
    await visit.say("heartbeat", cursor="e-1", lag_ms=12)
    stale, live = await items(reader, 2)
    assert isinstance(stale, Stale)
    assert live == Live()


async def test_only_news_says_that_the_log_is_back(script: Script, dial: Dial) -> None:
    """While it is away the server still answers, which makes nothing that is shown any newer."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await visit.say("heartbeat", lag_ms=12, away_ms=4_200)
    await visit.say("pong", id="9")
    await visit.status("e-2")
    stale, status, live = await items(reader, 3)
    assert isinstance(stale, Stale)
    assert isinstance(status, Status)
    assert live == Live()


async def test_what_may_come_again_is_yielded_once(script: Script, dial: Dial) -> None:
    """Also after another connection, where the server says that it lacks `strictly_once`."""
    script.welcome["lacks"] = ["strictly_once"]
    reader = dial(script.url)
    visit = await went_live(script, reader)
    for cursor in ("e-2", "e-2", "e-3"):
        await visit.status(cursor)
    assert [item.cursor for item in await items(reader, 2) if isinstance(item, Status)] == [
        "e-2",
        "e-3",
    ]
    visit.drop()
    await items(reader, 1)
    following = asyncio.create_task(items(reader, 1))
    again = await script.visit()
    await again.status("e-3")
    await again.status("e-4")
    (status,) = await following
    assert isinstance(status, Status)
    assert status.cursor == "e-4"


async def test_draining_is_left_for_as_long_as_it_asks(script: Script, dial: Dial) -> None:
    """And resumed."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await visit.say("draining", retry_ms=70)
    await visit.close(1012, "draining")
    (lost,) = await items(reader, 1)
    assert lost == Lost("the server is restarting", 0.07)
    assert (await came_back(script, reader)).opening["since"] == "e-1"


@pytest.mark.parametrize("code", [1011, 1013, 4408, 4429])
async def test_what_may_pass_is_tried_again(script: Script, dial: Dial, code: int) -> None:
    """With the cursor."""
    reader = dial(script.url)
    await (await went_live(script, reader)).close(code, "not now")
    (lost,) = await items(reader, 1)
    assert isinstance(lost, Lost)
    assert (await came_back(script, reader)).opening["since"] == "e-1"


@pytest.mark.parametrize(
    ("code", "error"), [(4400, Misunderstood), (4401, TokenRefused), (4403, Forbidden)]
)
async def test_what_would_not_pass_ends_the_stream(
    script: Script, dial: Dial, code: int, error: type[Stopped]
) -> None:
    """By an exception that has the code, and the server's reason."""
    reader = dial(script.url, token=GIVEN)
    await (await went_live(script, reader)).close(code, "so it is")
    with pytest.raises(error, match="so it is") as stopped:
        await reader.item()
    assert stopped.value.code == code


async def test_a_refused_subscription_ends_the_stream(script: Script, dial: Dial) -> None:
    """The error says why."""
    reader = dial(script.url, watch=["everything"])
    first = asyncio.create_task(reader.item())
    visit = await script.visit()
    await visit.say("error", id="1", code="bad_watch", message="no such pattern")
    with pytest.raises(RequestRefused, match="no such pattern") as stopped:
        await first
    assert stopped.value.error == "bad_watch"


async def test_a_code_that_is_told_and_not_closed_with(script: Script, dial: Dial) -> None:
    """A server that lacks `close_codes` says it in an error."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await visit.say("error", id=None, code="bad_request", message="not yours", close=4403)
    with pytest.raises(Forbidden):
        await reader.item()


async def test_the_token_is_in_a_header(script: Script, dial: Dial) -> None:
    """Nowhere else."""
    reader = dial(script.url, token=GIVEN)
    visit = await went_live(script, reader)
    assert visit.headers.pop("authorization") == f"Bearer {GIVEN}"
    assert visit.headers["sec-websocket-protocol"] == "statuswire.v1"
    assert GIVEN not in json.dumps({**visit.headers, "authorization": ""})


@pytest.mark.parametrize("query", ["token=t", "access_token=t", "watch=*", "since=e-1"])
def test_what_does_not_belong_in_an_address(query: str) -> None:
    """It is refused before anything is dialled."""
    with pytest.raises(ValueError, match="in the url"):
        StatusStream(f"ws://127.0.0.1:1/v1/status?{query}")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "127.0.0.1:1", "ws:///v1/status"])
def test_what_is_no_address(url: str) -> None:
    """A WebSocket's begins with ws or wss."""
    with pytest.raises(ValueError, match="ws://"):
        StatusStream(url)


async def test_another_token_is_had_where_one_is_refused(script: Script, dial: Dial) -> None:
    """Whether the code or the handshake says so; and the stream goes on where it stood."""
    tokens = iter(["one", "two", "three"])
    reader = dial(script.url, token=lambda: next(tokens))
    visit = await went_live(script, reader)
    script.refusals = [401]
    await visit.close(4401, "the token has expired")
    assert await items(reader, 1) == [Lost("the token has expired", 0.0)]
    assert isinstance((await items(reader, 1))[0], Lost)
    again = await came_back(script, reader)
    assert again.headers["authorization"] == "Bearer three"
    assert again.opening["since"] == "e-1"


async def test_tokens_that_are_all_refused_end_the_stream(script: Script, dial: Dial) -> None:
    """Some in a row may be a key's rotation; not for ever."""
    script.refusals = [401] * 50
    reader = dial(script.url, token=lambda: "t")
    with pytest.raises(TokenRefused):
        await items(reader, 50)
    assert len(script.refusals) == 50 - 6


async def test_a_token_that_cannot_be_had_ends_the_stream(script: Script, dial: Dial) -> None:
    """With what its callable raises."""

    def none() -> str:
        raise LookupError("no credentials")

    with pytest.raises(LookupError, match="no credentials"):
        await dial(script.url, token=none).item()


async def test_a_token_is_renewed_before_it_ends(script: Script, dial: Dial) -> None:
    """In the open connection."""
    tokens = [token(1.0, jti="1"), second := token(900.0, jti="2")]
    reader = dial(script.url, token=lambda: tokens.pop(0))
    visit = await went_live(script, reader)
    following = asyncio.create_task(items(reader, 1))
    assert await visit.hear() == {"op": "token", "id": "token", "token": second}
    await visit.say("token", id="token", expires="2026-01-01T00:15:00.000Z")
    await visit.status("e-2")
    assert isinstance((await following)[0], Status)


async def test_a_renewal_that_fails_leaves_the_connection(script: Script, dial: Dial) -> None:
    """What stands is good until its token ends; meanwhile it is tried again."""
    asked = []

    def renew() -> str:
        asked.append(1)
        if len(asked) > 1:
            raise LookupError
        return token(0.2)

    reader = dial(script.url, token=renew)
    visit = await went_live(script, reader)
    following = asyncio.create_task(items(reader, 1))
    while len(asked) < 2:  # noqa: ASYNC110 # in another thread
        await asyncio.sleep(0.01)
    await visit.status("e-2")
    assert isinstance((await following)[0], Status)


async def test_without_a_watch_the_token_says_what(script: Script, dial: Dial) -> None:
    """A token for something else begins anew: a cursor is a place in what is watched."""
    tokens = [token(0.5, watch=["execution:a"]), token(900.0, watch=["machine:express"])]
    reader = dial(script.url, token=lambda: tokens.pop(0))
    first = asyncio.create_task(items(reader, 3))
    visit = await script.live()
    assert visit.opening["watch"] == ["execution:a"]
    assert isinstance((await first)[-1], Lost)
    following = asyncio.create_task(items(reader, 1))
    again = await script.live()
    assert again.opening == {"op": "subscribe", "id": "1", "watch": ["machine:express"]}
    await following


async def test_a_wait_can_be_given_up(script: Script) -> None:
    """A timeout around the next item costs nothing but the wait."""
    async with StatusStream(script.url) as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.05)
        first = asyncio.create_task(anext(stream))
        visit = await script.live()
        assert await first == Snapshot((), "e-1")
        assert await anext(stream) == Live()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.05)
        await visit.status("e-2")
        assert isinstance(await anext(stream), Status)


async def test_an_awaited_token(script: Script) -> None:
    """The shell for asyncio awaits what its callable returns."""

    async def ask() -> str:
        return "awaited"

    async with StatusStream(script.url, token=ask) as stream:
        first = asyncio.create_task(anext(stream))
        visit = await script.live()
        assert visit.headers["authorization"] == "Bearer awaited"
        await first


async def test_a_stream_that_is_closed_leaves(script: Script, dial: Dial) -> None:
    """With a closing handshake."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    await reader.close()
    await visit.left()


@pytest.mark.parametrize("status", [200, 404, 426])
async def test_an_address_without_statuses_ends_the_stream(
    script: Script, dial: Dial, status: int
) -> None:
    """It would answer the same the next time."""
    script.refusals = [status] * 2
    with pytest.raises(WrongAddress, match=str(status)) as stopped:
        await items(dial(script.url), 1)
    assert (stopped.value.code, len(script.refusals)) == (status, 1)


async def test_an_address_that_had_statuses_is_tried_again(script: Script, dial: Dial) -> None:
    """A proxy that knows the way no more may be told it again."""
    reader = dial(script.url)
    visit = await went_live(script, reader)
    script.refusals = [404, 404]
    await visit.close(1012, "draining")
    assert [type(item) for item in await items(reader, 3)] == [Lost] * 3
    assert (await came_back(script, reader)).opening["since"] == "e-1"


async def test_a_handshake_that_is_cut_off_is_tried_again(
    script: Script, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library calls that a closed connection, though it never was open."""
    cuts = [ConnectionClosedError(None, None)] * 2

    class Cut:
        """In place of `connect`: cut off twice."""

        connect: Any

        def __init__(self, url: str, **options: Any) -> None:
            if cuts:
                raise cuts.pop()
            self.connecting = self.connect(url, **options)

        def __await__(self) -> Any:
            return self.connecting.__await__()

        def __enter__(self) -> Any:
            return self.connecting.__enter__()

        def __exit__(self, *error: Any) -> None:
            self.connecting.__exit__(*error)

    for shell in (stream, blocking):
        kind = type("Cut", (Cut,), {"connect": staticmethod(shell.connect)})
        monkeypatch.setattr(shell, "connect", kind)
    reader = dial(script.url)
    first = asyncio.create_task(items(reader, 4))
    await script.live()
    assert [type(item) for item in await first] == [Lost, Lost, Snapshot, Live]


async def test_a_server_that_is_not_there_is_tried_again(script: Script, dial: Dial) -> None:
    """Until it is."""
    script.refusals = [503, 503]
    reader = dial(script.url)
    first = asyncio.create_task(items(reader, 4))
    await script.live()
    told = await first
    assert [type(item) for item in told] == [Lost, Lost, Snapshot, Live]
