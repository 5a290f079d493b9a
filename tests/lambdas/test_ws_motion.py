"""Taking turns at a connection: nothing is lost, or told out of order, whoever tells it."""

from collections.abc import Iterable
from typing import Any

import pytest

from consumer.core.grant import Grant
from lambdas.stream.connections import Connections, Gone, Request, TooMany
from lambdas.stream.motion import LACKS, MAX_FRAME_BYTES
from lambdas.stream.posts import PostFailed
from tests.core import examples
from tests.lambdas.stand import LEASE_MS, LOG, Stand

ONE, TWO, THREE = (examples.step(seq) for seq in (1, 2, 3))


class Died(BaseException):
    """A function that was ended in the middle of its work."""


def cursors(stand: Stand, id_: str) -> list[str]:
    return [each["cursor"].partition("-")[2] for each in stand.told(id_) if "cursor" in each]


def ops(stand: Stand, id_: str) -> list[str]:
    return [each["op"] for each in stand.told(id_)]


def once(stand: Stand, op: str, act: Any) -> None:
    """Do something in the middle of the first post of that op."""

    def before(id_: str, message: dict[str, Any]) -> None:
        if message["op"] == op:
            stand.sockets.before_post = lambda id_, message: None
            act()

    stand.sockets.before_post = before


def test_the_welcome_says_how_often_hearts_beat_and_what_is_lacking(stand: Stand) -> None:
    """It is the first message, though the address asks for a snapshot at once."""
    stand.connect("c", watch=["*"])
    welcome, snapshot = stand.told("c")
    assert welcome == {
        "op": "welcome", "protocol": 1, "heartbeat_s": 60, "lacks": list(LACKS),
    }  # fmt: skip
    assert (snapshot["op"], snapshot["id"]) == ("snapshot", None)


def test_who_asks_before_the_greeting_is_greeted_first(stand: Stand) -> None:
    """The function that serves the request comes before the one that was asked to greet."""
    stand.connections.open("c", Grant(frozenset({"*"}), 1e11), [])
    stand.sockets.sent["c"] = []
    stand.ask("c", op="ping", id="1")
    stand.serve("c")
    assert ops(stand, "c") == ["welcome", "pong"]


def test_a_greeting_waits_for_the_handshake(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """API Gateway knows of no connection before $connect has been answered."""
    monkeypatch.setattr("time.sleep", lambda s: stand.sockets.sent.setdefault("c", []))
    stand.connections.open("c", Grant(frozenset({"*"}), 1e11), [])
    assert stand.serve("c")
    assert ops(stand, "c") == ["welcome"]


def test_a_connection_that_never_came_is_forgotten(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client hung up during the handshake."""

    def wait(seconds: float) -> None:
        stand.now_ms += 1_000

    monkeypatch.setattr("time.sleep", wait)
    stand.connections.open("c", Grant(frozenset({"*"}), 1e11), [])
    stand.serve("c")
    assert stand.rows() == []


def test_an_event_during_a_snapshot_is_told_after_it(stand: Stand) -> None:
    """Whoever brings it finds the connection taken, and leaves word; nothing falls between."""
    stand.connect("c")
    stand.told("c")
    stand.arrive(ONE)
    once(stand, "snapshot", lambda: stand.arrive(TWO))
    stand.ask("c", op="subscribe", watch=["*"])
    assert ops(stand, "c") == ["snapshot", "status"]


def test_a_snapshot_waits_for_what_is_watched_already(stand: Stand) -> None:
    """Its cursor would promise what nobody has told: what was taken while it was made."""
    stand.connect("c", watch=["machine:standard"])
    stand.told("c")
    note = stand.connections.note

    def take_one(id_: str, patterns: Iterable[str]) -> None:
        note(id_, patterns)
        stand.log.append([ONE])

    stand.connections.note = take_one  # type: ignore[method-assign] # just before it is made
    stand.ask("c", op="subscribe", watch=["machine:express"])
    told = stand.told("c")
    assert [each["op"] for each in told] == ["status", "snapshot"]
    assert told[0]["cursor"] == told[1]["cursor"]


def test_two_functions_tell_in_the_order_of_the_log(stand: Stand) -> None:
    """The second does not overtake: its events are told by the first, before it lets go."""
    stand.connect("c", watch=["*"])
    stand.told("c")
    once(stand, "status", lambda: stand.arrive(TWO, THREE))
    stand.arrive(ONE)
    assert cursors(stand, "c") == ["1", "2", "3"]


def test_a_request_during_a_delivery_is_served_after_it(stand: Stand) -> None:
    """By whoever holds the connection."""
    stand.connect("c", watch=["*"])
    stand.told("c")
    once(stand, "status", lambda: stand.ask("c", op="ping", id="9"))
    stand.arrive(ONE)
    assert ops(stand, "c") == ["status", "pong"]
    assert stand.connections.look("c").requests == []


def test_what_a_dead_function_left_is_told_by_the_next(stand: Stand) -> None:
    """Once its lease is over; what it had sent already may come twice, with the same cursor."""
    stand.connect("c", watch=["*"])
    stand.told("c")

    def die() -> None:
        raise Died

    once(stand, "status", die)
    with pytest.raises(Died):
        stand.arrive(ONE)
    stand.arrive(TWO)
    assert ops(stand, "c") == []
    stand.now_ms += LEASE_MS + 1
    stand.beat()
    assert cursors(stand, "c") == ["1", "2", "2"]


def test_who_lost_the_lease_writes_nothing(stand: Stand) -> None:
    """Its time was up, and another has told what it was about to tell."""
    stand.connect("c", watch=["*"])

    def overstay() -> None:
        stand.now_ms += LEASE_MS + 1
        stand.serve("c")

    once(stand, "status", overstay)
    assert not stand.serve("c", due=stand.log.append([ONE]) and 1)
    assert stand.connections.look("c").place == 1


def test_a_post_that_fails_leaves_the_rest_to_the_next(stand: Stand) -> None:
    """The connection is given back at once, with what was sent noted."""
    stand.connect("c", watch=["*"])
    stand.told("c")

    def fail(id_: str, message: dict[str, Any]) -> None:
        if message.get("cursor", "").endswith("-2"):
            raise PostFailed("LimitExceededException")

    stand.sockets.before_post = fail
    with pytest.raises(PostFailed):
        stand.arrive(ONE, TWO)
    stand.sockets.before_post = lambda id_, message: None
    stand.beat()
    assert cursors(stand, "c") == ["1", "2", "2"]


def test_who_is_gone_is_forgotten_with_all_its_watches(stand: Stand) -> None:
    """410, at the first post."""
    stand.connect("c", watch=["*", "machine:standard"])
    stand.sockets.close("c")
    stand.arrive(ONE)
    assert stand.rows() == []


def test_a_watch_without_its_connection_is_struck(stand: Stand) -> None:
    """The connection ended while it was written."""
    stand.connections.note("c", ["*"])
    stand.arrive(ONE)
    assert stand.rows() == []


def test_who_unsubscribes_is_found_no_more(stand: Stand) -> None:
    """By the patterns that it named."""
    stand.connect("c", watch=["*", "machine:standard"])
    stand.ask("c", op="unsubscribe", watch=["*"])
    assert stand.rows() == ["connection#c", "watch#machine:standard"]


def test_snapshots_keep_to_frames_that_api_gateway_takes(stand: Stand) -> None:
    """With `more` on all but the last, whose cursor alone promises anything."""
    stand.connect("c")
    for number in range(6):
        stand.arrive(examples.step(1, run=f"run-{number}", detail={"pad": "x" * 14_000}))
    stand.told("c")
    stand.ask("c", op="subscribe", watch=["*"])
    frames = stand.told("c")
    assert [frame["more"] for frame in frames] == [True, True, False]
    assert stand.sockets.largest < MAX_FRAME_BYTES
    assert sum(len(frame["events"]) for frame in frames) == 6


def test_a_new_epoch_is_a_gap_to_who_is_connected(stand: Stand) -> None:
    """Its places mean nothing any more; what stands is told anew."""
    stand.connect("c", watch=["*"])
    stand.arrive(ONE)
    stand.told("c")
    stand.client.update_item(
        TableName=LOG,
        Key={"pk": "head", "sk": "-"},
        UpdateExpression="SET epoch = :e",
        ExpressionAttributeValues={":e": "next"},
    )
    stand.renew()
    stand.beat()
    assert [(each["op"], each["cursor"]) for each in stand.told("c")] == [
        ("gap", "next-1"), ("snapshot", "next-1"), ("heartbeat", "next-1"),
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [["*"], ["machine:express"]])
def test_a_watch_that_the_token_does_not_cover_ends_the_connection(
    stand: Stand, asked: list[str]
) -> None:
    """With the close code that cannot be sent."""
    stand.connect("c", Grant(frozenset({"machine:standard"}), 1e11))
    sent = stand.sockets.sent["c"]
    stand.ask("c", op="subscribe", watch=asked)
    assert (sent[-1]["code"], sent[-1]["close"]) == ("closing", 4403)
    assert (stand.rows(), stand.sockets.sent) == ([], {})


def test_a_token_that_has_expired_ends_the_connection(stand: Stand) -> None:
    """Before anything more is told: at the next event, or heartbeat."""
    stand.connect("c", Grant(frozenset({"*"}), stand.now_ms / 1000 + 60), watch=["*"])
    sent = stand.sockets.sent["c"]
    stand.now_ms += 60_000
    stand.arrive(ONE)
    assert (sent[-1]["close"], stand.rows()) == (4401, [])


def test_what_is_no_message_ends_the_connection(stand: Stand) -> None:
    """As 4400 would."""
    stand.connect("c")
    sent = stand.sockets.sent["c"]
    stand.connections.ask("c", Request("1", "not JSON"))
    stand.serve("c")
    assert (sent[-1]["close"], stand.rows()) == (4400, [])


def test_a_request_that_cannot_be_granted_is_answered(stand: Stand) -> None:
    """And the connection stays."""
    stand.connect("c")
    stand.told("c")
    stand.ask("c", op="subscribe", id="1", watch=["nothing:"])
    stand.ask("c", op="subscribe", id="2", watch=[f"execution:r{n}" for n in range(50)])
    stand.ask("c", op="subscribe", id="3", watch=["*"])
    codes = [each.get("code") for each in stand.told("c")]
    assert codes == ["bad_watch", None, "too_many_watches"]


def test_requests_pile_up_to_a_bound(stand: Stand) -> None:
    """While another function holds the connection."""
    stand.connect("c")
    assert stand.connections.claim("c", due=0, until_ms=stand.now_ms + LEASE_MS)
    for _ in range(10):
        stand.ask("c", op="ping")
    with pytest.raises(TooMany):
        stand.ask("c", op="ping")
    with pytest.raises(Gone):
        stand.ask("nobody", op="ping")


def test_a_call_that_is_made_twice_counts_once(stand: Stand) -> None:
    """Its answer was lost on the way: a lease is ours, a request waits once."""
    stand.connect("c")
    update = stand.connections._update

    def twice(id_: str, change: dict[str, Any]) -> Any:
        update(id_, change)
        return update(id_, change)

    stand.connections._update = twice  # type: ignore[assignment,method-assign] # a retry
    stand.told("c")
    stand.ask("c", op="ping", id="1")
    assert stand.told("c") == [{"op": "pong", "id": "1"}]
    assert stand.connections.look("c").requests == []


def test_a_request_that_is_heard_late_is_not_served_again(stand: Stand) -> None:
    """Its first call took longer than the second, which was made for want of an answer."""
    stand.connect("c")
    stand.told("c")
    request = stand.request({"op": "ping", "id": "1"})
    for _ in range(2):
        stand.connections.ask("c", request)
        stand.serve("c")
    assert stand.told("c") == [{"op": "pong", "id": "1"}]


def test_a_lease_that_was_given_back_is_not_taken_late(stand: Stand) -> None:
    """Nobody would give it back, and until its end nobody else could take the connection."""
    stand.connect("c")
    calls: list[dict[str, Any]] = []
    update = stand.connections._update

    def noted(id_: str, change: dict[str, Any]) -> Any:
        calls.append(change)
        return update(id_, change)

    stand.connections._update = noted  # type: ignore[assignment,method-assign] # a look
    stand.ask("c", op="ping", id="1")
    (claim,) = [call for call in calls if ":until" in call["ExpressionAttributeValues"]]
    assert update("c", claim) is None


def test_a_heartbeat_has_a_cursor_only_with_the_lease_in_hand(stand: Stand) -> None:
    """Else a status might overtake it, and its cursor go back."""
    stand.connect("c", watch=["machine:express"])
    stand.connect("idle")
    stand.arrive(ONE)
    for id_ in ("c", "idle"):
        stand.told(id_)
    stand.beat()
    stand.beat()
    lag = {"op": "heartbeat", "lag_ms": 99_000}
    first, second = stand.told("c")
    assert (first, second) == ({**lag, "cursor": first["cursor"]}, lag)
    assert stand.told("idle") == [lag, lag]


def test_a_heartbeat_finds_out_who_is_gone(stand: Stand) -> None:
    """Also who watches nothing."""
    stand.connect("c")
    stand.sockets.close("c")
    stand.beat()
    assert stand.rows() == []


def test_a_heartbeat_while_another_tells_is_sent_all_the_same(stand: Stand) -> None:
    """Without a cursor."""
    stand.connect("c", watch=["*"])
    stand.told("c")
    once(stand, "status", stand.beat)
    stand.arrive(ONE)
    assert [(each["op"], "cursor" in each) for each in stand.told("c")] == [
        ("heartbeat", False), ("status", True),
    ]  # fmt: skip


def test_a_connection_that_api_gateway_would_end_is_told_to_come_back(stand: Stand) -> None:
    """After almost two hours; with its cursor it misses nothing."""
    stand.connect("c", watch=["*"])
    sent = stand.sockets.sent["c"]
    stand.now_ms += 7_100_000
    stand.beat()
    assert sent[-1]["op"] == "draining"
    assert 0 <= sent[-1]["retry_ms"] <= 5_000
    assert (stand.rows(), stand.sockets.sent) == ([], {})


def test_what_is_held_stays_within_one_item(tables: Any) -> None:
    """Ten requests of the most bytes and a watch of the most patterns, of an item's 400 KB."""
    connections = Connections(tables, "connections", now_ms=lambda: 0)
    connections.open("c", Grant(frozenset({"*"}), 1e11), [])
    for number in range(10):
        connections.ask("c", Request(str(number), "x" * 16_000))
    held = connections.claim("c", due=0, until_ms=1)
    assert held is not None
    held.watch = {"execution:" + "x" * 500 + str(n): n for n in range(50)}
    connections.abandon(held)
    assert len(connections.look("c").watch) == 50
