"""Who is let in, how a token travels, and what is said first."""

import pytest

from tests.conformance.scene import SUBPROTOCOL, Scene
from tests.conformance.stories import Run

SOON_S = 1.5  # time enough to be let in


async def test_the_welcome_comes_first(scene: Scene) -> None:
    """Before anything else, and it names what this delivery lacks, if anything."""
    viewer = await scene.dial("?watch=*", token=scene.delivery.token("*"))
    welcome = await viewer.read()
    assert (welcome["op"], welcome["protocol"]) == ("welcome", 1)
    assert welcome.get("lacks", []) == sorted(scene.lacks)
    await viewer.snapshot()


async def test_the_subprotocol_is_selected_where_it_is_offered(scene: Scene) -> None:
    """A browser insists on it."""
    assert (await scene.viewer(subprotocols=[SUBPROTOCOL])).wire.subprotocol == SUBPROTOCOL


async def test_the_subprotocol_is_not_required(scene: Scene) -> None:
    """A bare client offers none, and none is selected."""
    assert (await scene.viewer()).wire.subprotocol is None


async def test_a_token_as_a_subprotocol(scene: Scene) -> None:
    """A browser can set no header: it offers its token second, and that is never selected."""
    token = scene.delivery.token("*")
    viewer = await scene.dial(subprotocols=[SUBPROTOCOL, f"bearer.{token}"])
    await viewer.told("welcome")
    assert viewer.wire.subprotocol == SUBPROTOCOL


async def test_a_missing_token_is_refused(scene: Scene) -> None:
    """Nothing is said to whoever brings none."""
    assert await scene.refusal() == 4401


async def test_a_forged_token_is_refused(scene: Scene) -> None:
    """One whose signature is another token's."""
    good, other = scene.delivery.token("*"), scene.delivery.token("machine:express")
    forged = good.rpartition(".")[0] + "." + other.rpartition(".")[2]
    assert await scene.refusal(token=forged) == 4401


async def test_an_expired_token_is_refused(scene: Scene) -> None:
    """However well it is signed."""
    expired = scene.delivery.token("*", lifetime_s=-60)
    assert await scene.refusal(token=expired) == 4401


async def test_a_token_in_the_address_is_refused(scene: Scene) -> None:
    """An address is logged on its way: even a good token does not open from there."""
    token = scene.delivery.token("*")
    assert await scene.refusal(f"?token={token}") == 4401


async def test_a_watch_beyond_the_token_is_refused(scene: Scene) -> None:
    """Asked for in a message: nothing of it is shown, and the connection ends."""
    viewer = await scene.viewer("", "machine:standard")
    await viewer.subscribe("machine:express", id="1")
    assert await viewer.ended() == 4403
    assert not any('"snapshot"' in text for text in viewer.texts)


@pytest.mark.parametrize("query", ["?watch=*", "?watch=machine:standard&watch=machine:express"])
async def test_a_watch_in_the_address_beyond_the_token_is_refused(scene: Scene, query: str) -> None:
    """Though a part of it be covered."""
    token = scene.delivery.token("machine:standard")
    assert await scene.refusal(query, token=token) == 4403


async def test_a_token_covers_what_lies_within_it(scene: Scene) -> None:
    """Who may watch a machine may watch one of its executions, by ARN."""
    run = Run("standard")
    viewer = await scene.viewer("", "machine:standard")
    await viewer.subscribe(f"execution:{run.arn}", id="1")
    assert await viewer.snapshot() == []


async def test_a_token_is_renewed_in_the_open_connection(scene: Scene) -> None:
    """The answer says until when; a connection whose token is not renewed ends with it: 4401."""
    token = scene.delivery.token("*", lifetime_s=SOON_S)
    renewed, other = await scene.dial(token=token), await scene.dial(token=token)
    await renewed.told("welcome")
    await renewed.say("token", id="4", token=scene.delivery.token("*"))
    assert (await renewed.told("token"))["id"] == "4"
    async with scene.beating():
        assert await other.ended() == 4401
    await renewed.hears_no_more()


@pytest.mark.parametrize(
    ("granted", "code"), [((), 4401), (("machine:express",), 4403)], ids=["forged", "narrower"]
)
async def test_a_renewal_that_is_none(scene: Scene, granted: tuple[str, ...], code: int) -> None:
    """Forged, it ends the connection as at its start; so does one for less than is watched."""
    viewer = await scene.watching("machine:standard")
    token = scene.delivery.token(*granted) if granted else "not.a.token"
    await viewer.say("token", id="4", token=token)
    assert await viewer.ended() == code
